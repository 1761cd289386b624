//go:build wasip1

package gateway

import (
	"fmt"
	"unsafe"
)

// MessageFilter gets each message of a WebSocket or an event stream, after OnResponse has returned StreamMessages. The zero
// MessageResult passes the message on unchanged; an error closes the WebSocket with code 1011 or aborts the event stream. `state` is
// what StreamMessages or the previous call gave.
type MessageFilter interface {
	OnMessage(message Message, sender Sender, state []byte) (MessageResult, error)
}

// Sender is the side that a message comes from. Events come from the upstream.
type Sender uint32

const (
	Client Sender = iota
	Upstream
)

// Message is a TextMessage, a BinaryMessage or a ServerSentEvent.
type Message interface{ message() }

// TextMessage is a text message of a WebSocket.
type TextMessage string

// BinaryMessage is a binary message of a WebSocket.
type BinaryMessage []byte

// ServerSentEvent is an event of an event stream. Bytes that are not UTF-8 are U+FFFD.
type ServerSentEvent struct {
	// Without line ends and NUL; nil if the event has none.
	ID *string
	// The field `event`, without line ends; an event without it has the type `message`.
	Name *string
	// Lines with LF between them.
	Data string
}

func (TextMessage) message()     {}
func (BinaryMessage) message()   {}
func (ServerSentEvent) message() {}

// Close is why a WebSocket is closed (RFC 6455 §7.4). An event stream ends without it.
type Close struct {
	// 1000 to 1003, 1007 to 1014, or 3000 to 4999.
	Code uint16
	// Up to 123 bytes.
	Reason string
}

// MessageResult is what becomes of a message.
type MessageResult struct {
	// What goes on in its place. Nil passes the message on unchanged, an empty list drops it.
	Output []Message
	// Messages to the sender. The upstream of an event stream takes none.
	Replies []Message
	// Closes the WebSocket to both sides, or ends the event stream, after output and replies.
	Close *Close
	// The new state, up to 64 KiB; nil keeps the present one.
	State []byte
}

// Drop passes nothing on in place of the message.
func Drop() MessageResult { return MessageResult{Output: []Message{}} }

// Replace passes other messages on in its place.
func Replace(messages ...Message) MessageResult {
	return MessageResult{Output: append([]Message{}, messages...)}
}

// MessageDecision is what StreamMessages returns.
type MessageDecision struct{ state []byte }

func (MessageDecision) responseDecision() {}

// StreamMessages continues, and passes each message through OnMessage, which gets this state (up to 64 KiB) with the first one. Valid
// for a 101 that accepts a WebSocket handshake, and for a response with `content-type: text/event-stream` and without
// `content-encoding`.
func StreamMessages(state []byte) MessageDecision { return MessageDecision{state} }

// A message as the gateway reads it: its case, and the words of an event, of which text and bytes take two.
type loweredMessage [9]uint32

// What the last message result points to, until the gateway has read it.
var (
	answer                   MessageResult
	outputWords, replyWords []loweredMessage
	messageTexts             []string
)

func textSpan(text string) span {
	text = valid(text)
	messageTexts = append(messageTexts, text)
	return spanOf(text)
}

func lowerMessages(messages []Message) ([]loweredMessage, error) {
	made := make([]loweredMessage, len(messages))
	for i, message := range messages {
		words := &made[i]
		put := func(at int, value span) { words[at], words[at+1] = value.pointer, value.length }
		optional := func(at int, text *string) {
			if text != nil {
				words[at] = 1
				put(at+1, textSpan(*text))
			}
		}
		switch message := message.(type) {
		case TextMessage:
			put(1, textSpan(string(message)))
		case BinaryMessage:
			words[0] = 1
			put(1, spanOfBytes(message))
		case ServerSentEvent:
			words[0] = 2
			optional(1, message.ID)
			optional(4, message.Name)
			put(7, textSpan(message.Data))
		default:
			return nil, fmt.Errorf("OnMessage returned %T: a message is a TextMessage, a BinaryMessage or a ServerSentEvent", message)
		}
	}
	return made, nil
}

//go:wasmexport gateway:plugin/message-filter@0.2.0#on-message
func onMessage(sender, kind, a, b, c, d, e, f, g, h, state, stateLength uint32) unsafe.Pointer {
	begun = true
	read := func(pointer, length uint32) []byte {
		from := span{pointer, length}
		return append([]byte{}, view(unsafe.Pointer(&from))...)
	}
	optional := func(is, pointer, length uint32) *string {
		if is == 0 {
			return nil
		}
		text := string(read(pointer, length))
		return &text
	}
	var message Message
	switch kind {
	case 0:
		message = TextMessage(read(a, b))
	case 1:
		message = BinaryMessage(read(a, b))
	default:
		message = ServerSentEvent{optional(a, b, c), optional(d, e, f), string(read(g, h))}
	}
	given := read(state, stateLength)
	copied()
	result, err := plugin.(MessageFilter).OnMessage(message, Sender(sender), given)
	messageTexts = messageTexts[:0]
	answer = result
	if err == nil {
		outputWords, err = lowerMessages(answer.Output)
	}
	if err == nil {
		replyWords, err = lowerMessages(answer.Replies)
	}
	if err != nil {
		return failed(err)
	}
	list := func(words []loweredMessage) span {
		return spanAt(unsafe.Pointer(unsafe.SliceData(words)), len(words))
	}
	store32(0, 0)
	store32(4, flag(answer.Output != nil))
	storeSpan(8, list(outputWords))
	storeSpan(16, list(replyWords))
	store32(24, flag(answer.Close != nil))
	if answer.Close != nil {
		store32(28, uint32(answer.Close.Code))
		storeSpan(32, textSpan(answer.Close.Reason))
	}
	store32(40, flag(answer.State != nil))
	storeSpan(44, spanOfBytes(answer.State))
	return ended()
}
