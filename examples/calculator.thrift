// The service of plugins/thrift-json/README.md.

struct Division {
  1: i64 quotient
  2: i64 remainder
}

exception DivisionByZero {
  1: string message
} (http.status = "422")

service Calculator {
  double add(1: list<double> terms)
  Division divide(1: i64 dividend, 2: i64 divisor) throws (1: DivisionByZero zero)
}
