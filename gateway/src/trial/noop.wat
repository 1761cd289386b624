;; The least that a plugin can be: what others cost is told beside it. `project::component` makes a component of it.
(module
  (import "gateway:plugin/http@0.2.0" "[resource-drop]request" (func $drop (param i32)))
  (memory (export "memory") 1)
  ;; The configuration is the only thing that is handed over.
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
  (func (export "gateway:plugin/lifecycle@0.2.0#describe") (result i32) (i32.const 16))
  (func (export "gateway:plugin/lifecycle@0.2.0#configure") (param i32 i32) (result i32) (i32.const 64))
  (func (export "gateway:plugin/request-filter@0.2.0#on-request") (param i32) (result i32)
    (call $drop (local.get 0))
    (i32.const 64))
  (data (i32.const 0) "no-op")
  ;; Name, version, description and schema: where, and how long.
  (data (i32.const 16) "\00\00\00\00\05\00\00\00"))
