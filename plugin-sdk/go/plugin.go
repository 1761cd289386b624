//go:build wasip1

// Package gateway writes plugins for the gateway.
//
// A plugin is registered by an init function, with a struct for its configuration and a function that makes it of one. What it
// makes has a method for each phase that it takes part in, and `exports` in plugin.yaml names the same phases: OnRequest
// (request-filter), OnRequestBody (request-body-filter), OnRequestChunk (request-stream), OnResponse (response-filter),
// OnResponseBody (response-body-filter), OnResponseChunk (response-stream), OnMessage (message-filter), OnComplete (observer), OnTimer (timers). A handler without its export,
// or an export without its handler, is an error when the plugin is configured.
package gateway

import (
	"encoding/json"
	"errors"
	"reflect"
	"unsafe"
)

// Outcome is how an exchange ended. Pointers are nil where there is nothing to say.
type Outcome struct {
	Status                      *uint16
	Failure                     *string
	Upstream                    *string
	RequestBytes, ResponseBytes uint64
	DurationUs                  uint64
	UpstreamUs                  *uint64
	PluginsUs                   uint64
	// The last states of OnRequestChunk and OnResponseChunk; nil where there was none.
	RequestStreamState, ResponseStreamState []byte
	// The last state of OnMessage.
	MessageState []byte
}

// About is what a plugin says of itself.
type About struct{ Name, Version, Description string }

type registration struct {
	about  About
	schema string
	create func(config string) (any, error)
}

var (
	registered *registration
	plugin     any
)

// Register says what the component is. `create` is called once with the configuration; its errors are shown at their place if
// they are ConfigProblem, or several of them joined.
func Register[C any](about About, create func(config C) (any, error)) {
	var schema string
	if of := reflect.TypeFor[C](); of.Kind() == reflect.Struct && of.NumField() > 0 {
		made, err := json.Marshal(schemaOf(of))
		if err != nil {
			panic(err)
		}
		schema = string(made)
	}
	about = About{valid(about.Name), valid(about.Version), valid(about.Description)}
	registered = &registration{about, schema, func(text string) (any, error) {
		config, err := read[C](text)
		if err != nil {
			return nil, err
		}
		return create(config)
	}}
}

// What a phase returns is read before anything else runs here.
var (
	returned [16]uint32
	lines    []pair
	body     []byte
	said     string
	replied  *Reply
	refused  []ConfigProblem
)

func store32(offset uintptr, value uint32) {
	*(*uint32)(unsafe.Add(unsafe.Pointer(&returned), offset)) = value
}

func storeSpan(offset uintptr, value span) {
	store32(offset, value.pointer)
	store32(offset+4, value.length)
}

// What is to be closed when the phase ends. A variable, so that a component imports only the interfaces that it uses.
var atEnd []func()

// At the end of a phase: what the plugin has not closed is closed, since its handles mean nothing in the next phase.
func closeAll() {
	for _, end := range atEnd {
		end()
	}
	copied()
}

func ended() unsafe.Pointer {
	closeAll()
	return unsafe.Pointer(&returned)
}

//go:wasmexport gateway:plugin/lifecycle@0.2.0#describe
func describe() unsafe.Pointer {
	begun = true
	if registered == nil {
		panic("no plugin is registered: call gateway.Register in an init function")
	}
	storeSpan(0, spanOf(registered.about.Name))
	storeSpan(8, spanOf(registered.about.Version))
	storeSpan(16, spanOf(registered.about.Description))
	storeSpan(24, spanOf(registered.schema))
	return ended()
}

//go:wasmexport gateway:plugin/lifecycle@0.2.0#configure
func configure(pointer unsafe.Pointer, length uint32) unsafe.Pointer {
	begun = true
	config := string(unsafe.Slice((*byte)(pointer), length))
	copied()
	var err error
	if plugin, err = registered.create(config); err == nil {
		err = misplaced(plugin)
	}
	if err == nil {
		store32(0, 0)
		return ended()
	}
	lines = lines[:0]
	refused = problems(err)
	for i, problem := range refused {
		refused[i] = ConfigProblem{valid(problem.Pointer), valid(problem.Message)}
	}
	for _, problem := range refused {
		lines = append(lines, pair{spanOf(problem.Pointer), spanOf(problem.Message)})
	}
	store32(0, 1)
	storeSpan(4, spanOfPairs(lines))
	return ended()
}

func problems(err error) []ConfigProblem {
	if several, ok := err.(interface{ Unwrap() []error }); ok {
		var all []ConfigProblem
		for _, one := range several.Unwrap() {
			all = append(all, problems(one)...)
		}
		return all
	}
	var problem ConfigProblem
	if errors.As(err, &problem) {
		return []ConfigProblem{problem}
	}
	return []ConfigProblem{{"", err.Error()}}
}

//go:wasmexport gateway:plugin/observer@0.2.0#on-complete
func onComplete(told unsafe.Pointer) {
	begun = true
	read32 := func(offset uintptr) uint32 { return *(*uint32)(unsafe.Add(told, offset)) }
	read64 := func(offset uintptr) uint64 { return *(*uint64)(unsafe.Add(told, offset)) }
	is := func(offset uintptr) bool { return *(*uint8)(unsafe.Add(told, offset)) != 0 }
	word := func(offset uintptr) *string {
		if !is(offset) {
			return nil
		}
		copy := string(view(unsafe.Add(told, offset+4)))
		return &copy
	}
	request := Request{int32(read32(0))}
	var response *Response
	if is(4) {
		response = &Response{int32(read32(8))}
	}
	outcome := Outcome{
		Failure:       word(20),
		Upstream:      word(32),
		RequestBytes:  read64(48),
		ResponseBytes: read64(56),
		DurationUs:    read64(64),
		PluginsUs:     read64(88),
	}
	state := func(offset uintptr) []byte {
		if !is(offset) {
			return nil
		}
		return append([]byte{}, view(unsafe.Add(told, offset+4))...)
	}
	outcome.RequestStreamState, outcome.ResponseStreamState, outcome.MessageState = state(96), state(108), state(120)
	if is(16) {
		status := *(*uint16)(unsafe.Add(told, 18))
		outcome.Status = &status
	}
	if is(72) {
		upstream := read64(80)
		outcome.UpstreamUs = &upstream
	}
	copied()
	plugin.(Observer).OnComplete(request, response, outcome)
	requestDrop(request.handle)
	if response != nil {
		responseDrop(response.handle)
	}
	closeAll()
}
