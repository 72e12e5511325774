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

// result answers.
func (r *request) result(value any) {
	r.answer(struct {
		Version string          `json:"jsonrpc"`
		ID      json.RawMessage `json:"id"`
		Result  any             `json:"result"`
	}{"2.0", r.id, value})
}

// refuse answers with an error.
func (r *request) refuse(code int, format string, args ...any) {
	r.answer(struct {
		Version string          `json:"jsonrpc"`
		ID      json.RawMessage `json:"id"`
		Error   Error           `json:"error"`
	}{"2.0", r.id, Error{code, fmt.Sprintf(format, args...)}})
}

// errno answers with the errno's text, and with the errno as the code where no
// other is given.
func (r *request) errno(errno syscall.Errno) { r.refuse(-int(errno), "%s", text(errno)) }

func (r *request) errnoAs(code int, errno syscall.Errno) { r.refuse(code, "%s", text(errno)) }

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
// On failure the request is answered.
func (r *request) decode(into any) bool {
	return r.decodeOr(into, codeInternalError, undecodable)
}

func (r *request) decodeOr(into any, code int, message string) bool {
	if decode(r.params, into, r.target.config.Flavour) {
		return true
	}
	r.refuse(code, "%s", message)
	return false
}

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
