// Uses what the gateway offers to plugins, each in straight-line code, as `tests/guests/services` does in Rust. Responds with a line
// of text that the tests compare.
package main

import (
	"errors"
	"fmt"
	"strings"

	gateway "gateway-plugin"
)

const visits = gateway.Bucket("visits")

// `open sesame`.
const hash = "$argon2id$v=19$m=64,t=1,p=1$c2FsdC1vZi1hbm5h$MlzKAbpDxiyDJdwkMTMDFg9ED1rnyPn1OXNFKm1f3Jg"

type Config struct {
	Big    int64            `json:"big" default:"-9007199254740993"`
	Huge   uint64           `json:"huge" default:"18446744073709551615"`
	Small  int8             `json:"small" default:"1"`
	Names  []string         `json:"names" default:"[\"ann\",\"ben\"]"`
	Steps  []Step           `json:"steps" default:"[{\"name\":\"first\"}]"`
	Limits map[string]Limit `json:"limits" default:"{}"`
}

type Step struct {
	Name   string `json:"name"`
	Weight int64  `json:"weight" default:"9007199254740993"`
}

type Limit struct {
	Most  int    `json:"most" default:"5"`
	Inner *Limit `json:"inner,omitempty"`
}

type Services struct {
	Config
	selection gateway.Selection
}

func init() {
	gateway.Register(gateway.About{Name: "services", Version: "0.1.0"}, func(config Config) (any, error) {
		selection := gateway.NewSelection(gateway.ItemMethod, gateway.ItemPath, gateway.ItemHeader("x-given"), gateway.ItemHeader("x-missing"))
		return &Services{config, selection}, nil
	})
}

func (s *Services) OnRequest(request gateway.Request) (gateway.Decision, error) {
	switch request.Path() {
	case "/journey":
		return journey(request)
	case "/parallel":
		return told(parallel())
	case "/batch":
		return told(batch())
	case "/take-all":
		return told(takeAll())
	case "/document":
		return told(document())
	case "/password":
		return told(password())
	case "/selection":
		return told(s.read(request), nil)
	case "/tcp":
		return told(tcp())
	case "/config":
		return gateway.JSON(200, s.Config)
	case "/headers":
		return nil, copied(request)
	case "/body":
		return gateway.ReadBody(), nil
	case "/panic":
		panics(nil)
	case "/denied":
		return told(code(request.SelectUpstream("ghost")), nil)
	}
	return nil, nil
}

func told(text string, err error) (gateway.Decision, error) {
	if err != nil {
		return nil, err
	}
	return &gateway.Reply{Status: 200, Body: []byte(text)}, nil
}

func code(err error) string {
	var refused *gateway.Error
	if errors.As(err, &refused) {
		return refused.Code
	}
	return "none"
}

// Copies every value of a header, whatever its bytes are.
func copied(request gateway.Request) error {
	for _, value := range request.HeaderValues("x-given") {
		if err := request.AppendHeader("x-copy", value); err != nil {
			return err
		}
	}
	return nil
}

func panics(config *Config) { config.Big = 1 }

// A counter, a call to an upstream, a chosen upstream, and a changed body.
func journey(request gateway.Request) (gateway.Decision, error) {
	user, _ := request.Header("x-user")
	count, err := visits.Increment(user, 1, 0)
	if err != nil {
		return nil, err
	}
	group, err := gateway.Send(gateway.Call{Upstream: "users", Method: "GET", Target: "/" + user, TimeoutMs: 5000})
	if err != nil {
		return nil, err
	}
	if err := request.SelectUpstream(string(group.Body)); err != nil {
		return nil, err
	}
	return gateway.ReadBody(), request.SetHeader("x-visits", fmt.Sprint(count))
}

func (s *Services) OnRequestBody(request gateway.Request, body gateway.Body) (gateway.Decision, error) {
	if request.Path() == "/body" {
		return nil, request.SetBody(append(body.Bytes, 0xff))
	}
	count, _ := request.Header("x-visits")
	return nil, request.SetBody([]byte(body.Text() + ", visit " + count))
}

// `users` answers neither before both have arrived.
func parallel() (string, error) {
	var calls [3]*gateway.PendingCall
	for i, target := range []string{"/together/one", "/together/two", "/never"} {
		call, err := gateway.Start(gateway.Call{Upstream: "users", Method: "GET", Target: target, TimeoutMs: 5000})
		if err != nil {
			return "", err
		}
		calls[i] = call
	}
	one, err := calls[0].Wait()
	if err != nil {
		return "", err
	}
	two, err := calls[1].Wait()
	if err != nil {
		return "", err
	}
	if _, err := calls[1].Wait(); code(err) != "other" {
		return "", errors.New("a response was returned twice")
	}
	return fmt.Sprintf("%s %s", one.Body, two.Body), nil
}

func batch() (string, error) {
	if err := visits.Set("word", []byte("word"), 0); err != nil {
		return "", err
	}
	results, err := visits.Batch(
		gateway.IncrementOperation("sum", -(1<<40), 0),
		gateway.GetOperation("word"),
		gateway.GetOperation("gone"),
		gateway.SetOperation("set", []byte("set"), 600_000),
		gateway.DeleteOperation("deleted"),
		gateway.IncrementOperation("word", 1, 0),
	)
	if err != nil {
		return "", err
	}
	words := make([]string, len(results))
	for i, result := range results {
		switch {
		case result.Err != nil:
			words[i] = code(result.Err)
		case i == 0:
			words[i] = fmt.Sprint(result.Sum)
		case i > 2:
			words[i] = "done"
		case result.Value == nil:
			words[i] = "none"
		default:
			words[i] = string(result.Value)
		}
	}
	return strings.Join(words, " "), nil
}

func takeAll() (string, error) {
	quota := gateway.Quota{Limit: 3, PeriodMs: 3_600_000, Burst: 3}
	verdicts, err := visits.TakeAll("ann", gateway.Shared,
		gateway.Step{Key: "steady", Quota: quota, Counting: gateway.Steady, Cost: 1},
		gateway.Step{Key: "sliding", Quota: quota, Counting: gateway.Sliding, Cost: 2})
	if err != nil {
		return "", err
	}
	words := make([]string, len(verdicts))
	for i, verdict := range verdicts {
		words[i] = fmt.Sprint(verdict.Allowed, " ", verdict.Remaining)
	}
	return strings.Join(words, " "), nil
}

func document() (string, error) {
	source := gateway.NewSource("users", "/document")
	document, err := source.Get(0, false)
	if err != nil {
		return "", err
	}
	again, err := source.Get(document.Version, false)
	if again != nil {
		return "", errors.New("it has changed")
	}
	return string(document.Bytes) + " unchanged", err
}

func password() (string, error) {
	right, err := gateway.VerifyPassword(hash, []byte("open sesame"), 60_000)
	if err != nil {
		return "", err
	}
	wrong, err := gateway.VerifyPassword(hash, []byte("open"), 60_000)
	if err != nil {
		return "", err
	}
	_, malformed := gateway.VerifyPassword("plain", []byte("open"), 60_000)
	return fmt.Sprint(right, " ", wrong, " ", code(malformed) == "malformed-hash"), nil
}

func (s *Services) read(request gateway.Request) string {
	values := s.selection.Read(request, nil)
	words := make([]string, len(values))
	for i := range values {
		word, is := values.At(i)
		if !is {
			word = "missing"
		}
		words[i] = word
	}
	return strings.Join(words, " ")
}

func tcp() (string, error) {
	connection, err := gateway.SendTCP(gateway.TCPMessage{Upstream: "echo", Bytes: []byte("one two"), MinBytes: 3})
	if err != nil {
		return "", err
	}
	bytes, err := connection.Receive(0)
	if err != nil {
		return "", err
	}
	more, err := connection.Receive(uint32(7 - len(bytes)))
	connection.Release()
	return string(bytes) + string(more), err
}

func main() {}
