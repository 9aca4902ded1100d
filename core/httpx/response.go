package httpx

import (
	"encoding/json"
	"fmt"

	"github.com/athena-gateway/athena/sdk"
)

// Body is an answer that comes in pieces; gateway.Result is one.
type Body interface {
	// Next returns the next piece, valid until the following call; io.EOF at the end.
	Next() ([]byte, error)
	// Close is called exactly once. Its error is nil when everything was read.
	Close(err error)
}

// Response is what a handler answers: Bytes, or a Stream between Prefix and Suffix.
type Response struct {
	Status      int    // 0: 200
	ContentType string // "": application/json
	Header      []sdk.Pair
	Bytes       []byte

	// Stream is spliced undecoded between Prefix and what Suffix appends, which is asked
	// when the stream has ended. Below 1 MiB an error of the stream chooses its own
	// status; beyond, it breaks the transfer.
	Stream Body
	Prefix string
	Suffix func(dst []byte) []byte
}

// JSON answers with v as it is, without the envelope.
func JSON(v any) (*Response, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode the answer: %w", err)
	}
	return &Response{Bytes: b}, nil
}

// OK answers with the success envelope {"data":…,"status":"success","message":…}.
func OK(message string, data any) (*Response, error) {
	b, err := json.Marshal(data)
	if err != nil {
		return nil, fmt.Errorf("encode the answer: %w", err)
	}
	b = append([]byte(`{"data":`), b...)
	b = AppendSuccess(b, message)
	return &Response{Bytes: append(b, '}')}, nil
}

// AppendSuccess appends what follows the data in a success envelope, without the closing
// brace: more members may come after it.
func AppendSuccess(dst []byte, message string) []byte {
	dst = append(dst, `,"status":"success","message":`...)
	return sdk.AppendString(dst, message)
}
