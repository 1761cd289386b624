/* Every kind of type and method. */
namespace py everything

include "shared.thrift"

const i32 LIMIT = 20
const set<string> TAGS = ["a"]

union Shape {
  1: shared.Point point
  2: string name
}

struct Thing {
  1: required shared.Id id
  2: optional string name
  3: shared.Colour colour = shared.Colour.GREEN
  4: list<i16> numbers
  5: set<string> tags = TAGS
  6: map<string, shared.Point> places
  7: binary blob
  8: optional Shape shape
  9: i8 small
  10: double ratio
  11: bool flag
  12: map<i32, string> names
  13: optional Thing next
}

exception Denied {
  1: string message
  2: i32 level
}

service Everything extends shared.Base {
  // Throws by the thing's name: `denied`, `missing`.
  Thing echo(1: Thing thing) throws (1: Denied denied, 2: shared.NotFound missing)
  i64 add(1: i32 a, 2: i32 b = LIMIT)
  void nothing()
  oneway void note(1: string text)
  // What was noted.
  list<string> noted()
  list<Thing> many(1: i32 count)
  string slow(1: i32 millis)
  // Fails with an error that the service has not declared.
  void boom()
}
