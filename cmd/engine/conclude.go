package main

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/rootgraft/rebuild"
)

// verdict is the beginning of every JSON object.
type verdict struct {
	APIVersion string          `json:"apiVersion"`
	Outcome    rebuild.Outcome `json:"outcome"`
	Error      string          `json:"error"`
}

func verdictOf(failure error) verdict {
	v := verdict{APIVersion: "rebuild/v1", Outcome: rebuild.OutcomeComplete}
	switch {
	case failure == nil:
		return v
	case errors.Is(failure, rebuild.ErrRefused):
		v.Outcome = rebuild.OutcomeRefused
	default:
		v.Outcome = rebuild.OutcomeFailed
	}
	v.Error = oneLine(failure.Error())
	return v
}

// conclude is concludeAnyway for a command whose text only tells of success.
func (s streams) conclude(output outputFlag, failure error, object any, text string) error {
	if printed := (*printedError)(nil); failure != nil && !errors.As(failure, &printed) {
		text = ""
	}
	return s.concludeAnyway(output, failure, object, text)
}

// concludeAnyway prints the result of a command and returns the error that the command ends
// with. As JSON it prints one object, which has the failure in it; as text it prints
// text, and the caller prints the error.
func (s streams) concludeAnyway(output outputFlag, failure error, object any, text string) error {
	if usage := (*usageError)(nil); errors.As(failure, &usage) {
		return failure
	}
	if output == outputText {
		if text != "" {
			fmt.Fprint(s.out, fold(text, lineWidth(s.out)))
		}
		return failure
	}
	encoder := json.NewEncoder(s.out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(object); err != nil {
		return err
	}
	if failure != nil {
		return &printedError{failure}
	}
	return nil
}

// each converts all, to a slice that is [] in JSON if there is nothing to convert.
func each[T, U any](all []T, convert func(T) U) []U {
	converted := make([]U, len(all))
	for i, one := range all {
		converted[i] = convert(one)
	}
	return converted
}
