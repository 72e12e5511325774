package simtarget

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"syscall"
)

// request is one that is being answered.
type request struct {
	target *Target
	conn   *connection
	id     json.RawMessage
	method string
	params json.RawMessage // nil: none, or null

	after  Event // what happens instead of the answer
	garble []byte
}

// errLater is returned by what a request has begun: its answer comes later, or never.
var errLater = errors.New("the answer comes later")

// later finishes the request after the other requests of this turn have begun too.
func (r *request) later(finish func() (any, error)) (any, error) {
	r.target.later(r.concluding(finish))
	return nil, errLater
}

// pause finishes the request as a change of the subsystem.
func (r *request) pause(s *subsystem, nsid uint32, finish func() (any, error)) (any, error) {
	s.pause(nsid, r.concluding(finish))
	return nil, errLater
}

// quiesce finishes the request when no I/O of the bdev is on its way.
func (r *request) quiesce(b *bdev, finish func() (any, error)) (any, error) {
	b.quiesce(r.concluding(finish))
	return nil, errLater
}

// concluding answers with what finish returns.
func (r *request) concluding(finish func() (any, error)) func() {
	return func() { r.conclude(finish()) }
}

// conclude answers with the result or the error. That is an *Error, or an errno, which is the
// code then, too.
func (r *request) conclude(result any, err error) {
	var refused *Error
	var errno syscall.Errno
	switch {
	case errors.Is(err, errLater):
		return
	case errors.As(err, &errno):
		refused = &Error{-int(errno), text(errno)}
	case err != nil && !errors.As(err, &refused):
		panic(fmt.Sprintf("answer to %s: %v", r.method, err)) // only our own errors are returned
	}
	r.answer(struct {
		Version string          `json:"jsonrpc"`
		ID      json.RawMessage `json:"id"`
		Result  any             `json:"result,omitempty"`
		Error   *Error          `json:"error,omitempty"`
	}{"2.0", r.id, result, refused})
}

// refusal is an error with a text of its own.
func refusal(code int, format string, args ...any) error {
	return &Error{code, fmt.Sprintf(format, args...)}
}

// as is an errno's text with another code.
func as(code int, errno syscall.Errno) error { return &Error{code, text(errno)} }

func (r *request) answer(value any) {
	switch r.after {
	case Nothing:
	case Silence:
		return
	case Close:
		r.conn.close()
		return
	case Hang:
		r.target.hang("a fault was injected")
		return
	case Kill:
		r.target.die(errors.New("a fault was injected"))
		return
	}
	if r.target.hangs {
		return
	}
	if r.garble != nil {
		r.conn.send(r.garble)
		return
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		panic(fmt.Sprintf("answer to %s: %v", r.method, err)) // only our own types are encoded
	}
	r.conn.send(out.Bytes())
}

// undecodable is what most of SPDK answers to parameters that it does not know.
const undecodable = "spdk_json_decode_object failed"

// decode fills a struct from the parameters as spdk_json_decode_object does: a
// key that is not known, a value of another type and a key that is missing all
// fail. The tag `optional:"true"` lets a key be missing; `flavour` names the
// one that knows it. What ignores() lists may be there and has no effect here, and
// where there is a method relaxed(), anything else (spdk_json_decode_object_relaxed).
func decode(params json.RawMessage, into any, flavour Flavour) bool {
	var given map[string]json.RawMessage
	if params == nil || params[0] != '{' || json.Unmarshal(params, &given) != nil {
		return false
	}
	if keys(params) != len(given) {
		return false // one is there twice
	}
	value := reflect.ValueOf(into).Elem()
	for i := range value.NumField() {
		field := value.Type().Field(i)
		if f := field.Tag.Get("flavour"); f != "" && f != flavour.String() {
			continue
		}
		name := field.Tag.Get("json")
		raw, there := given[name]
		delete(given, name)
		if !there {
			if field.Tag.Get("optional") == "" {
				return false
			}
			continue
		}
		if !decodeField(raw, value.Field(i)) {
			return false
		}
	}
	if knows, ok := into.(interface{ ignores() []string }); ok {
		for _, name := range knows.ignores() {
			delete(given, name)
		}
	}
	_, relaxed := into.(interface{ relaxed() })
	return relaxed || len(given) == 0
}

// decodeField knows the kinds that are used. null is none of them.
func decodeField(raw json.RawMessage, value reflect.Value) bool {
	if own, ok := value.Addr().Interface().(interface{ decode(json.RawMessage) bool }); ok {
		return own.decode(raw)
	}
	if string(raw) == "null" {
		return false
	}
	if value.Kind() == reflect.Struct {
		return false
	}
	return json.Unmarshal(raw, value.Addr().Interface()) == nil
}

// keys counts those of an object, the double ones too.
func keys(object json.RawMessage) int {
	decoder := json.NewDecoder(bytes.NewReader(object))
	n, depth, isKey := 0, 0, false
	for {
		token, err := decoder.Token()
		if err != nil {
			return n
		}
		if delim, ok := token.(json.Delim); ok {
			if strings.ContainsRune("{[", rune(delim)) {
				depth++
				isKey = depth == 1
			} else {
				depth--
				isKey = depth == 1
			}
			continue
		}
		if depth == 1 {
			if isKey {
				n++
			}
			isKey = !isKey
		}
	}
}
