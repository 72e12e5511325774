package rebuild

import (
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rootgraft/rebuild/internal/app"
)

func TestRequestKeepsEveryField(t *testing.T) {
	limit := NewBandwidth(1 << 20)
	var public Request
	fill(t, reflect.ValueOf(&public).Elem(), map[string]any{
		"Bandwidth": []*Bandwidth{limit, nil},
		"Observer":  ObserverFunc(func(Event) {}),
		"Journal":   struct{ Journal }{},
	})
	internal := reflect.ValueOf(public.internal())

	shown := reflect.ValueOf(public)
	for i := range internal.NumField() {
		field := internal.Type().Field(i)
		if !field.IsExported() {
			continue
		}
		of := shown.FieldByName(field.Name)
		require.True(t, of.IsValid(), "Request has no field %s", field.Name)
		switch field.Name {
		case "Bandwidth":
			require.Equal(t, []*app.Bandwidth{limit.app, nil}, internal.Field(i).Interface())
		case "Observer": // functions cannot be compared
			require.NotNil(t, internal.Field(i).Interface())
		default:
			require.Equal(t, of.Interface(), internal.Field(i).Interface(), field.Name)
		}
	}
}

// fill sets every field to something else than its zero value; given has those that are
// neither numbers, strings, nor structs or slices of these.
func fill(t *testing.T, into reflect.Value, given map[string]any) {
	t.Helper()
	for i := range into.NumField() {
		field, name := into.Field(i), into.Type().Field(i).Name
		if value, ok := given[name]; ok {
			field.Set(reflect.ValueOf(value))
			continue
		}
		switch field.Kind() {
		case reflect.String:
			field.SetString(name)
		case reflect.Bool:
			field.SetBool(true)
		case reflect.Int:
			field.SetInt(3)
		case reflect.Slice:
			field.Set(reflect.MakeSlice(field.Type(), 1, 1))
		case reflect.Struct:
			field.Set(sample(t, field.Type()))
		default:
			t.Fatalf("no value for field %s of type %s", name, field.Type())
		}
	}
}

// sample is a struct that is not the zero value.
func sample(t *testing.T, of reflect.Type) reflect.Value {
	t.Helper()
	for _, value := range []any{Site{Replica: "vol-1-r-0a1b2c3d"}, ImageBase("base"), Options{Full: true}} {
		if reflect.TypeOf(value) == of {
			return reflect.ValueOf(value)
		}
	}
	t.Fatalf("no value of type %s", of)
	return reflect.Value{}
}
