//go:build wasip1

package gateway

import (
	"errors"
	"fmt"
	"reflect"
	"unsafe"
)

// RequestFilter takes part in the request phase. `nil` lets the request continue; an error is the plugin's failure.
type RequestFilter interface {
	OnRequest(request Request) (Decision, error)
}

// RequestBodyFilter gets the whole body of a request: after OnRequest has returned ReadBody(), or for every request if the plugin
// has no OnRequest. OnRequestBody cannot return ReadBody().
//
// It is not called if the body could not be read; see RequestBodyErrors.
type RequestBodyFilter interface {
	OnRequestBody(request Request, body Body) (Decision, error)
}

// RequestBodyErrors decides what happens if a request body could not be read. Without it, the client gets 413 for a body that is
// too large and 400 for one that was interrupted or is invalid; other errors are the plugin's failure.
type RequestBodyErrors interface {
	OnRequestBodyError(request Request, err *Error) (Decision, error)
}

// RequestStream changes a request body chunk by chunk, after OnRequest has returned StreamBody.
type RequestStream interface {
	OnRequestChunk(chunk Chunk) (ChunkResult, error)
}

// ResponseFilter takes part in the response phase. `nil` lets the response continue.
type ResponseFilter interface {
	OnResponse(request Request, response Response) (ResponseDecision, error)
}

// ResponseBodyFilter gets the whole body of a response: after OnResponse has returned ReadBody(), or for every response if the
// plugin has no OnResponse. OnResponseBody cannot return ReadBody().
//
// It is not called if the body could not be read; see ResponseBodyErrors.
type ResponseBodyFilter interface {
	OnResponseBody(request Request, response Response, body Body) (ResponseDecision, error)
}

// ResponseBodyErrors decides what happens if a response body could not be read. Without it, that is the plugin's failure.
type ResponseBodyErrors interface {
	OnResponseBodyError(request Request, response Response, err *Error) (ResponseDecision, error)
}

// ResponseStream changes a response body chunk by chunk, after OnResponse has returned StreamBody.
type ResponseStream interface {
	OnResponseChunk(chunk Chunk) (ChunkResult, error)
}

// Observer is called when an exchange has ended. The response is nil if there was none.
type Observer interface {
	OnComplete(request Request, response *Response, outcome Outcome)
}

// Decision is what the request phase decides: `nil` continues, a *Reply is sent to the client, and ReadBody and StreamBody ask
// for the body.
type Decision interface{ decision() }

// ResponseDecision is what the response phase decides: `nil` continues, ReadBody and StreamBody ask for the body, and StreamMessages
// asks for messages.
type ResponseDecision interface{ responseDecision() }

// BodyDecision is what ReadBody and StreamBody return, for both phases.
type BodyDecision struct {
	stream bool
	state  []byte
}

func (*Reply) decision()               {}
func (BodyDecision) decision()         {}
func (BodyDecision) responseDecision() {}

// ReadBody has OnRequestBody or OnResponseBody called when the whole body has arrived.
func ReadBody() BodyDecision { return BodyDecision{} }

// StreamBody continues, and passes the body through OnRequestChunk or OnResponseChunk, which gets this state (up to 64 KiB) with
// the first chunk.
func StreamBody(state []byte) BodyDecision { return BodyDecision{stream: true, state: state} }

// A bit for each phase that plugin.yaml exports; `gateway plugin build` answers it.
//
//go:wasmimport gateway-project exports
func projectExports() uint32

// What is wrong with the handlers of a plugin: each needs its export in plugin.yaml, and the other way round.
func misplaced(plugin any) error {
	var wrong []error
	exports := projectExports()
	check := func(bit int, export, handler string, is, has bool) {
		exported := exports&(1<<bit) != 0
		switch {
		case has && !is:
			wrong = append(wrong, fmt.Errorf("%s does not have the signature that the documentation of the package gives", handler))
		case is && !exported:
			wrong = append(wrong, fmt.Errorf("%s is defined, but plugin.yaml does not export %s", handler, export))
		case !is && exported:
			wrong = append(wrong, fmt.Errorf("plugin.yaml exports %s, but %s is not defined", export, handler))
		}
	}
	kind := reflect.TypeOf(plugin)
	if kind == nil {
		return errors.New("the function that was registered returned no plugin")
	}
	// The names are constants here, so that the linker keeps no other methods.
	_, onRequest := kind.MethodByName("OnRequest")
	_, onRequestBody := kind.MethodByName("OnRequestBody")
	_, onRequestChunk := kind.MethodByName("OnRequestChunk")
	_, onResponse := kind.MethodByName("OnResponse")
	_, onResponseBody := kind.MethodByName("OnResponseBody")
	_, onResponseChunk := kind.MethodByName("OnResponseChunk")
	_, onComplete := kind.MethodByName("OnComplete")
	_, onMessage := kind.MethodByName("OnMessage")
	_, onTimer := kind.MethodByName("OnTimer")
	_, hasTimers := kind.MethodByName("Timers")
	_, isRequest := plugin.(RequestFilter)
	_, isRequestBody := plugin.(RequestBodyFilter)
	_, isRequestStream := plugin.(RequestStream)
	_, isResponse := plugin.(ResponseFilter)
	_, isResponseBody := plugin.(ResponseBodyFilter)
	_, isResponseStream := plugin.(ResponseStream)
	_, isObserver := plugin.(Observer)
	_, isMessages := plugin.(MessageFilter)
	_, isTimers := plugin.(Timers)
	check(0, "request-filter", "OnRequest", isRequest, onRequest)
	check(1, "request-body-filter", "OnRequestBody", isRequestBody, onRequestBody)
	check(2, "request-stream", "OnRequestChunk", isRequestStream, onRequestChunk)
	check(3, "response-filter", "OnResponse", isResponse, onResponse)
	check(4, "response-body-filter", "OnResponseBody", isResponseBody, onResponseBody)
	check(5, "response-stream", "OnResponseChunk", isResponseStream, onResponseChunk)
	check(6, "observer", "OnComplete", isObserver, onComplete)
	check(7, "message-filter", "OnMessage", isMessages, onMessage)
	if onTimer != hasTimers {
		wrong = append(wrong, errors.New("OnTimer and Timers are defined together, or neither of them"))
	} else {
		check(8, "timers", "OnTimer", isTimers, onTimer)
	}

	_, onRequestBodyError := kind.MethodByName("OnRequestBodyError")
	_, onResponseBodyError := kind.MethodByName("OnResponseBodyError")
	_, isRequestBodyErrors := plugin.(RequestBodyErrors)
	_, isResponseBodyErrors := plugin.(ResponseBodyErrors)
	// These are called in place of the body handlers, and so need them.
	inPlaceOf := func(handler, other string, is, has, isOther bool) {
		if has && !is {
			wrong = append(wrong, fmt.Errorf("%s does not have the signature that the documentation of the package gives", handler))
		} else if has && !isOther {
			wrong = append(wrong, fmt.Errorf("%s is defined, but %s is not", handler, other))
		}
	}
	inPlaceOf("OnRequestBodyError", "OnRequestBody", isRequestBodyErrors, onRequestBodyError, isRequestBody)
	inPlaceOf("OnResponseBodyError", "OnResponseBody", isResponseBodyErrors, onResponseBodyError, isResponseBody)
	return errors.Join(wrong...)
}

func failed(err error) unsafe.Pointer {
	said = valid(err.Error())
	store32(0, 1)
	storeSpan(4, spanOf(said))
	return ended()
}

// Writes what a phase returned. `may` is false where the body has been read already.
func decided(handler string, decision any, err error, may bool) unsafe.Pointer {
	if err != nil {
		return failed(err)
	}
	store32(0, 0)
	switch made := decision.(type) {
	case *Reply:
		if made == nil {
			break
		}
		replied = &Reply{made.Status, validFields(made.Headers), made.Body}
		lines, body = lower(replied.Headers), replied.Body
		store32(4, 1)
		store32(8, uint32(made.Status))
		storeSpan(12, spanOfPairs(lines))
		storeSpan(20, spanOfBytes(body))
		return ended()
	case BodyDecision:
		if made.stream {
			body = made.state
			store32(4, 3)
			storeSpan(8, spanOfBytes(body))
			return ended()
		}
		if !may {
			return failed(errors.New(handler + " returned ReadBody(): the body has been read already"))
		}
		store32(4, 2)
		return ended()
	case MessageDecision:
		body = made.state
		store32(4, 4)
		storeSpan(8, spanOfBytes(body))
		return ended()
	}
	store32(4, 0)
	return ended()
}

// The response decision has no `respond`, so its cases after `next` are one less.
func responseDecided(handler string, decision ResponseDecision, err error, may bool) unsafe.Pointer {
	at := decided(handler, decision, err, may)
	if returned[0] == 0 && returned[1] != 0 {
		returned[1]--
	}
	return at
}

//go:wasmexport gateway:plugin/request-filter@0.2.0#on-request
func onRequest(request int32) unsafe.Pointer {
	begun = true
	decision, err := plugin.(RequestFilter).OnRequest(Request{request})
	requestDrop(request)
	return decided("OnRequest", decision, err, true)
}

//go:wasmexport gateway:plugin/request-body-filter@0.2.0#on-request-body
func onRequestBody(request int32, isError, first uint32, second uint64, third, fourth uint32) unsafe.Pointer {
	begun = true
	given, why := givenBody(isError, first, second, third, fourth)
	var decision Decision
	var err error
	if why == nil {
		decision, err = plugin.(RequestBodyFilter).OnRequestBody(Request{request}, given)
	} else if filter, ok := plugin.(RequestBodyErrors); ok {
		decision, err = filter.OnRequestBodyError(Request{request}, why)
	} else {
		decision, err = unread(why)
	}
	requestDrop(request)
	return decided("OnRequestBody", decision, err, false)
}

// The rule for a request body that could not be read, in the SDKs of all languages.
func unread(why *Error) (Decision, error) {
	switch why.Code {
	case "too-large":
		return Problem(413, "the request body is "+why.Detail), nil
	case "interrupted", "invalid":
		return Problem(400, "the request body is incomplete or invalid"), nil
	}
	return nil, why
}

//go:wasmexport gateway:plugin/response-filter@0.2.0#on-response
func onResponse(request, response int32) unsafe.Pointer {
	begun = true
	decision, err := plugin.(ResponseFilter).OnResponse(Request{request}, Response{response})
	requestDrop(request)
	responseDrop(response)
	return responseDecided("OnResponse", decision, err, true)
}

//go:wasmexport gateway:plugin/response-body-filter@0.2.0#on-response-body
func onResponseBody(request, response int32, isError, first uint32, second uint64, third, fourth uint32) unsafe.Pointer {
	begun = true
	given, why := givenBody(isError, first, second, third, fourth)
	var decision ResponseDecision
	var err error
	if why == nil {
		decision, err = plugin.(ResponseBodyFilter).OnResponseBody(Request{request}, Response{response}, given)
	} else if filter, ok := plugin.(ResponseBodyErrors); ok {
		decision, err = filter.OnResponseBodyError(Request{request}, Response{response}, why)
	} else {
		err = why
	}
	requestDrop(request)
	responseDrop(response)
	return responseDecided("OnResponseBody", decision, err, false)
}

//go:wasmexport gateway:plugin/request-stream@0.2.0#on-request-chunk
func onRequestChunk(state, stateLength, bytes, bytesLength, end, trailers, trailerCount uint32) unsafe.Pointer {
	begun = true
	result, err := plugin.(RequestStream).OnRequestChunk(givenChunk(state, stateLength, bytes, bytesLength, end, trailers, trailerCount))
	return chunkDone(result, err)
}

//go:wasmexport gateway:plugin/response-stream@0.2.0#on-response-chunk
func onResponseChunk(state, stateLength, bytes, bytesLength, end, trailers, trailerCount uint32) unsafe.Pointer {
	begun = true
	result, err := plugin.(ResponseStream).OnResponseChunk(givenChunk(state, stateLength, bytes, bytesLength, end, trailers, trailerCount))
	return chunkDone(result, err)
}
