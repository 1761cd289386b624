// Uses all that the SDK offers, as the cases want it.
package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand"
	"strconv"
	"strings"
	"time"

	gateway "gateway-plugin"
)

const visits = gateway.Bucket("visits")

type Config struct {
	Mark    string            `json:"mark"`
	Count   int               `json:"count"`
	Ratio   float64           `json:"ratio"`
	Loud    bool              `json:"loud"`
	Names   []string          `json:"names"`
	Ages    map[string]string `json:"ages"`
	LeftOut string            `json:"left-out" default:"over \"it\""`
}

type Errand struct {
	Config
	planned, refused, forgotten gateway.Edits
}

func init() {
	gateway.Register(gateway.About{Name: "errand", Version: "0.1.0"}, func(config Config) (any, error) {
		planned := gateway.NewEdits(
			gateway.Edit{Deed: gateway.SetHeader, Name: "x-set", Given: true},
			gateway.Edit{Deed: gateway.RemoveResponseHeader, Name: "x-gone"},
			gateway.Edit{Deed: gateway.AppendResponseHeader, Name: "x-kept", Value: "two"},
			gateway.Edit{Deed: gateway.SetResponseHeader, Name: "x-unset", Given: true},
			gateway.Edit{Deed: gateway.DefaultResponseHeader, Name: "x-own", Value: "ours"},
			gateway.Edit{Deed: gateway.DefaultResponseHeader, Name: "x-new", Given: true},
			gateway.Edit{Deed: gateway.JoinResponseHeader, Name: "vary", Value: "x-given"},
		)
		refused := gateway.NewEdits(
			gateway.Edit{Deed: gateway.SetResponseHeader, Name: "connection", Value: "close"},
			gateway.Edit{Deed: gateway.SetAttribute, Name: "errand.made", Given: true},
		)
		forgotten := gateway.NewEdits(gateway.Edit{Deed: gateway.RemoveAttribute, Name: "errand.two"})
		return &Errand{config, planned, refused, forgotten}, nil
	})
}

type object = map[string]any

func code(err error) (gateway.Decision, error) {
	var refused *gateway.Error
	if errors.As(err, &refused) {
		return gateway.JSON(200, object{"error": refused.Code})
	}
	return gateway.JSON(200, object{"error": "none"})
}

func cryptography() (gateway.Decision, error) {
	key, message := gateway.SecretKey("key"), []byte("told")
	signature, err := gateway.Sign(gateway.HS256, key, message)
	valid, failed := gateway.Verify(gateway.HS256, key, message, signature)
	forged, also := gateway.Verify(gateway.HS256, gateway.KeyBytes([]byte("another")), message, signature)
	err = errors.Join(err, failed, also)
	derived, failed := gateway.DeriveKey(gateway.SHA256, key, []byte("salt"), []byte("errand"), 16)
	err = errors.Join(err, failed)
	own := gateway.KeyBytes(derived)
	sealed, failed := gateway.Encrypt(gateway.AES128GCM, own, message, []byte("errand"))
	err = errors.Join(err, failed)
	opened, failed := gateway.Decrypt(gateway.AES128GCM, own, sealed, []byte("errand"))
	err = errors.Join(err, failed)
	digest, failed := gateway.Digest(gateway.SHA256, message)
	err = errors.Join(err, failed)
	random, failed := gateway.RandomBytes(16)
	if err = errors.Join(err, failed); err != nil {
		return nil, err
	}
	var tampered, denied *gateway.Error
	_, failed = gateway.Decrypt(gateway.AES128GCM, own, sealed, []byte("another"))
	errors.As(failed, &tampered)
	_, failed = gateway.Sign(gateway.HS256, gateway.SecretKey("others"), message)
	errors.As(failed, &denied)
	return gateway.JSON(200, object{"signature": hex.EncodeToString(signature), "valid": valid, "forged": forged,
		"opened": string(opened), "tampered": tampered.Code, "derived": hex.EncodeToString(derived),
		"digest": hex.EncodeToString(digest), "random": len(random), "denied": denied.Code})
}

func swapValue() (gateway.Decision, error) {
	text := func(swap gateway.Swap) string {
		if swap.Present == nil {
			return "none"
		}
		return string(swap.Present)
	}
	created, err := visits.CompareAndSwap("swapped", nil, []byte("one"), 60_000)
	refused, failed := visits.CompareAndSwap("swapped", []byte("another"), []byte("two"), 0)
	err = errors.Join(err, failed)
	changed, failed := visits.CompareAndSwap("swapped", []byte("one"), []byte("two"), 0)
	err = errors.Join(err, failed)
	deleted, failed := visits.CompareAndSwap("swapped", []byte("two"), nil, 0)
	err = errors.Join(err, failed)
	missing, failed := visits.CompareAndSwap("swapped", []byte("two"), []byte("three"), 0)
	err = errors.Join(err, failed)
	left, failed := visits.Get("swapped")
	if err = errors.Join(err, failed); err != nil {
		return nil, err
	}
	if left == nil {
		left = []byte("none")
	}
	return gateway.JSON(200, object{"created": created.Swapped, "refused": text(refused), "changed": changed.Swapped,
		"deleted": deleted.Swapped, "left": string(left), "missing": text(missing)})
}

func lease() (gateway.Decision, error) {
	first, err := visits.Acquire("place", 1, 60_000, gateway.Shared)
	second, failed := visits.Acquire("place", 1, 60_000, gateway.Shared)
	err = errors.Join(err, failed)
	renewed, failed := visits.Renew("place", first.Lease, 60_000)
	err = errors.Join(err, failed, visits.Release("place", first.Lease))
	again, failed := visits.Acquire("place", 1, 60_000, gateway.Shared)
	err = errors.Join(err, failed)
	ended, failed := visits.Renew("place", first.Lease, 60_000)
	if err = errors.Join(err, failed); err != nil {
		return nil, err
	}
	return gateway.JSON(200, object{"first": first.Lease != "", "second": second.Lease != "", "holders": second.Holders,
		"renewed": renewed, "again": again.Lease != "", "ended": ended})
}

func (e *Errand) Timers() []gateway.Timer {
	return []gateway.Timer{{Name: "count", IntervalMs: 60_000}, {Name: "broken", IntervalMs: 86_400_000}}
}

func (e *Errand) OnTimer(name string) error {
	if name == "broken" {
		return errors.New("as it was told")
	}
	_, err := gateway.Send(gateway.Call{Upstream: "users", Method: "GET", Target: "/" + name, TimeoutMs: 5000})
	_, failed := visits.Increment("runs", 1, 0)
	return errors.Join(err, failed)
}

func (e *Errand) OnRequest(r gateway.Request) (gateway.Decision, error) {
	switch r.Path() {
	case "/config":
		return gateway.JSON(200, object{"mark": e.Mark, "count": e.Count, "ratio": e.Ratio, "loud": e.Loud, "names": e.Names,
			"age": e.Ages["ann"], "left": e.LeftOut})
	case "/parts":
		query, _ := r.Query()
		rest, _ := r.PathParameter("rest")
		missing := "none"
		for _, find := range []func() (string, bool){
			func() (string, bool) { return r.Header("x-missing") },
			func() (string, bool) { return r.PathParameter("other") },
			func() (string, bool) { return r.Attribute("none") },
		} {
			if found, ok := find(); ok {
				missing = found
			}
		}
		return gateway.JSON(200, object{"method": r.Method(), "scheme": r.Scheme(), "authority": r.Authority(), "path": r.Path(),
			"query": query, "original": r.OriginalTarget(), "protocol": r.Protocol(), "client": r.ClientAddress(),
			"route": r.Route(), "twice": strings.Join(r.HeaderValues("x-twice"), ","), "rest": rest, "missing": missing})
	case "/headers":
		lines := ""
		for _, line := range r.Headers() {
			if len(line[0]) == 3 {
				lines += line[0] + "=" + line[1] + ";"
			}
		}
		return gateway.JSON(200, object{"lines": lines})
	case "/edit":
		err := errors.Join(r.SetMethod("PUT"), r.SetTarget("/edited?by=plugin"), r.RemoveHeader("x-gone"),
			r.AppendHeader("x-kept", "two"), r.SetHeader("x-set", "grüße"), r.SetAttribute("errand.note", "told"))
		note, _ := r.Attribute("errand.note")
		return nil, errors.Join(err, r.SetHeader("x-note", note))
	case "/plan":
		return nil, e.planned.Apply(r, nil, "grüße", gateway.Missing, "ours")
	case "/plan-forbidden":
		var refused *gateway.Error
		if !errors.As(e.refused.Apply(r, nil, "told"), &refused) {
			return nil, errors.New("it was allowed")
		}
		made, _ := r.Attribute("errand.made")
		return gateway.JSON(200, object{"error": refused.Code, "made": made})
	case "/forbidden":
		return code(r.SetHeader("content-length", "1"))
	case "/text":
		given, _ := r.Header("x-given")
		gateway.Log(gateway.Info, given, [2]string{given, given})
		gateway.Count("errands", 1, [2]string{"kind", given})
		_, unknown := gateway.Send(gateway.Call{Upstream: given, Method: "GET", Target: "/", TimeoutMs: 1000})
		_, secret := gateway.Secret(given)
		refused := r.SetHeader(given, "x") != nil && r.SetMethod(given) != nil && unknown != nil && secret != nil
		err := errors.Join(gateway.WriteLine("audit", given), r.SetAttribute("errand.text", given),
			visits.Set(given, []byte("kept"), 60_000))
		text, _ := r.Attribute("errand.text")
		kept, _ := visits.Get(given)
		found, ok := r.Header(given)
		if _, also := r.PathParameter(given); !ok && !also {
			found = "none"
		}
		if err != nil {
			return nil, err
		}
		return gateway.JSON(200, object{"text": text, "kept": string(kept), "found": found, "refused": refused})
	case "/random":
		return gateway.JSON(200, object{"number": rand.Float64()})
	case "/copy":
		value, ok := r.Header("x-given")
		if !ok {
			value = "missing"
		}
		return nil, r.SetHeader("x-copy", value)
	case "/store":
		before, err := visits.Get("last")
		if before == nil {
			before = []byte("none")
		}
		err = errors.Join(err, visits.Set("last", []byte("kept"), 60_000))
		after, failed := visits.Get("last")
		err = errors.Join(err, failed, visits.Delete("last"))
		sum, failed := visits.Increment("sum", 5, 0)
		if err = errors.Join(err, failed); err != nil {
			return nil, err
		}
		return gateway.JSON(200, object{"before": string(before), "sum": sum, "after": string(after)})
	case "/swap-value":
		return swapValue()
	case "/set-ttl":
		missing, err := visits.SetTTL("lasting", 60_000)
		err = errors.Join(err, visits.Set("lasting", []byte("kept"), 0))
		shorter, failed := visits.SetTTL("lasting", 60_000)
		forever, also := visits.SetTTL("lasting", 0)
		kept, last := visits.Get("lasting")
		if err = errors.Join(err, failed, also, last); err != nil {
			return nil, err
		}
		return gateway.JSON(200, object{"missing": missing, "shorter": shorter, "forever": forever, "kept": string(kept)})
	case "/lease":
		return lease()
	case "/lease-local":
		first, err := visits.Acquire("place", 1, 60_000, gateway.Local)
		second, failed := visits.Acquire("place", 1, 60_000, gateway.Local)
		if err = errors.Join(err, failed); err != nil {
			return nil, err
		}
		return gateway.JSON(200, object{"first": first.Lease != "", "second": second.Lease != ""})
	case "/batch-swap":
		err := visits.Set("word", []byte("text"), 0)
		results, failed := visits.Batch(gateway.CompareAndSwapOperation("batched", nil, []byte("one"), 60_000),
			gateway.CompareAndSwapOperation("word", []byte("other"), []byte("new"), 0),
			gateway.SetTTLOperation("word", 60_000), gateway.SetTTLOperation("none", 0))
		if err = errors.Join(err, failed); err != nil {
			return nil, err
		}
		for _, result := range results {
			err = errors.Join(err, result.Err)
		}
		kept, failed := visits.Get("batched")
		if err = errors.Join(err, failed); err != nil {
			return nil, err
		}
		return gateway.JSON(200, object{"swapped": results[0].Swap.Swapped, "present": string(results[1].Swap.Present),
			"exists": results[2].Exists, "missing": results[3].Exists, "kept": string(kept)})
	case "/timed":
		runs, err := visits.Get("runs")
		if err != nil {
			return nil, err
		}
		number, err := strconv.Atoi(string(runs))
		return &gateway.Reply{Status: 200, Body: []byte(fmt.Sprintf(`{"runs":%d}`, number))}, err
	case "/take":
		verdict, err := visits.Take("quota", gateway.Quota{Limit: 2, PeriodMs: 60_000, Burst: 2}, 1)
		if err != nil {
			return nil, err
		}
		return gateway.JSON(200, object{"allowed": verdict.Allowed, "remaining": verdict.Remaining})
	case "/denied":
		_, err := gateway.Bucket("others").Get("x")
		return code(err)
	case "/secret":
		secret, err := gateway.Secret("key")
		file, failed := gateway.File("list")
		if err = errors.Join(err, failed); err != nil {
			return nil, err
		}
		return gateway.JSON(200, object{"secret": string(secret), "file": string(file)})
	case "/tell":
		gateway.Log(gateway.Info, "told", [2]string{"number", "7"})
		gateway.Count("errands", 2, [2]string{"kind", "told"})
		gateway.Observe("errand_seconds", 0.5)
		return &gateway.Reply{Status: 204}, gateway.WriteLine("audit", "told")
	case "/crypto":
		return cryptography()
	case "/gauge":
		gateway.SetGauge("errand_level", 2.5, [2]string{"kind", "set"})
		gateway.AddToGauge("errand_level", -1, [2]string{"kind", "added"})
		return &gateway.Reply{Status: 204}, nil
	case "/forget":
		err := errors.Join(r.SetAttribute("errand.one", "1"), r.SetAttribute("errand.two", "2"),
			r.RemoveAttribute("errand.one"), e.forgotten.Apply(r, nil))
		if err != nil {
			return nil, err
		}
		left := make([]string, 2)
		for i, key := range []string{"errand.one", "errand.two"} {
			if value, ok := r.Attribute(key); ok {
				left[i] = value
			} else {
				left[i] = "none"
			}
		}
		trace, ok := r.TraceParent()
		if !ok {
			trace = "none"
		}
		return gateway.JSON(200, object{"left": strings.Join(left, ","), "trace": trace})
	case "/call":
		answer, err := gateway.Send(gateway.Call{Upstream: "users", Method: "POST", Target: "/u?x=1",
			Headers: [][2]string{{"x-a", "b"}}, Body: []byte("hello"), TimeoutMs: 5000})
		if err != nil {
			return nil, err
		}
		from := ""
		for _, header := range answer.Headers {
			if header[0] == "x-from" {
				from = header[1]
			}
		}
		return gateway.JSON(200, object{"status": answer.Status, "from": from, "body": string(answer.Body)})
	case "/body", "/flip":
		return gateway.ReadBody(), nil
	case "/chunks":
		return gateway.StreamBody([]byte("0")), nil
	case "/clock":
		return gateway.JSON(200, object{"runs": time.Now().Unix() > 1_700_000_000})
	case "/fail":
		return nil, errors.New("as it was told")
	case "/problem":
		return gateway.Problem(403, `not "you"`), nil
	}
	return nil, nil
}

func (e *Errand) OnRequestBody(request gateway.Request, body gateway.Body) (gateway.Decision, error) {
	if request.Path() == "/flip" {
		body.Bytes[0] = '!'
		return nil, request.SetBody(body.Bytes, body.Trailers...)
	}
	return nil, request.SetBody([]byte(body.Text()+", read"), body.Trailers...)
}

func (e *Errand) OnRequestChunk(chunk gateway.Chunk) (gateway.ChunkResult, error) {
	return e.inFours(chunk)
}

func (e *Errand) OnResponse(request gateway.Request, response gateway.Response) (gateway.ResponseDecision, error) {
	switch request.Path() {
	case "/response":
		err := errors.Join(response.SetHeader("x-seen", fmt.Sprint(response.Status())), response.SetStatus(203),
			response.RemoveHeader("x-gone"), response.AppendHeader("x-kept", "two"))
		return gateway.ReadBody(), err
	case "/large":
		return gateway.ReadBody(), response.SetBody(make([]byte, 300_000))
	case "/chunks":
		return gateway.StreamBody([]byte("0")), nil
	}
	if request.Path() == "/events" || response.Status() == 101 {
		return gateway.StreamMessages([]byte("0")), nil
	}
	return nil, nil
}

// Adds the sender and the number of messages to texts and events, and does what some of them say.
func (e *Errand) OnMessage(message gateway.Message, sender gateway.Sender, state []byte) (gateway.MessageResult, error) {
	count, err := strconv.Atoi(string(state))
	if err != nil {
		return gateway.MessageResult{}, err
	}
	side := "client"
	if sender == gateway.Upstream {
		side = "upstream"
	}
	var text string
	like := func(text string) gateway.Message { return gateway.TextMessage(text) }
	var result gateway.MessageResult
	switch message := message.(type) {
	case gateway.BinaryMessage:
		result = gateway.Replace(append(message, 0, 255))
	case gateway.TextMessage:
		text = string(message)
	case gateway.ServerSentEvent:
		text = message.Data
		like = func(text string) gateway.Message { return gateway.ServerSentEvent{ID: message.ID, Name: message.Name, Data: text} }
	}
	if result.Output == nil {
		switch text {
		case "pass":
		case "drop":
			result = gateway.Drop()
		case "two":
			result = gateway.Replace(like("1"), like("2"))
		case "reply":
			result = gateway.Drop()
			result.Replies = []gateway.Message{gateway.TextMessage("reply to the " + side)}
		case "close":
			result.Close = &gateway.Close{Code: 4000, Reason: "as it was told"}
		case "fail":
			return result, errors.New("as it was told")
		default:
			result = gateway.Replace(like(fmt.Sprintf("%s\n%s %d", text, side, count+1)))
		}
	}
	result.State = []byte(strconv.Itoa(count + 1))
	return result, nil
}

func (e *Errand) OnResponseBody(request gateway.Request, response gateway.Response, body gateway.Body) (gateway.ResponseDecision, error) {
	if request.Path() == "/large" {
		return nil, response.SetHeader("x-length", fmt.Sprint(len(body.Bytes)))
	}
	return nil, response.SetBody([]byte(body.Text()+", read"), body.Trailers...)
}

func (e *Errand) OnResponseChunk(chunk gateway.Chunk) (gateway.ChunkResult, error) {
	return e.inFours(chunk)
}

// Sends groups of four bytes in brackets. The state is how many of them there were.
func (e *Errand) inFours(chunk gateway.Chunk) (gateway.ChunkResult, error) {
	count, err := strconv.Atoi(string(chunk.State))
	if err != nil {
		return gateway.ChunkResult{}, err
	}
	result := gateway.ChunkResult{MinBytes: 4, Trailers: chunk.Trailers}
	for len(chunk.Bytes)-result.Consumed >= 4 || chunk.End && result.Consumed < len(chunk.Bytes) {
		next := min(result.Consumed+4, len(chunk.Bytes))
		result.Output = append(result.Output, "["+string(chunk.Bytes[result.Consumed:next])+"]"...)
		result.Consumed = next
		count++
	}
	result.State = []byte(strconv.Itoa(count))
	return result, nil
}

func (e *Errand) OnComplete(request gateway.Request, response *gateway.Response, outcome gateway.Outcome) {
	status, ended, upstream := 0, uint16(0), ""
	if response != nil {
		status = response.Status()
	}
	if outcome.Status != nil {
		ended = *outcome.Status
	}
	if outcome.Upstream != nil {
		upstream = *outcome.Upstream
	}
	line := fmt.Sprintln(request.Path(), status, ended, upstream, outcome.DurationUs > 0)
	if outcome.ResponseStreamState != nil {
		line = fmt.Sprintf("%s groups: %s, %s", request.Path(), outcome.RequestStreamState, outcome.ResponseStreamState)
	}
	if outcome.MessageState != nil {
		line = fmt.Sprintf("%s messages: %s", request.Path(), outcome.MessageState)
	}
	if err := gateway.WriteLine("audit", strings.TrimSpace(line)); err != nil {
		gateway.Log(gateway.Warn, err.Error())
	}
}

func main() {}
