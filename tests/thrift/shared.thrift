// What several services have in common.
namespace py shared

enum Colour { RED = 1, GREEN = 2, BLUE = 7 }

typedef i64 Id

struct Point {
  1: required double x,
  2: double y = 1.5,
}

exception NotFound {
  1: string message,
  2: Id id,
} (http.status = "404")

service Base {
  string ping()
}
