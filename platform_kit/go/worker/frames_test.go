package worker

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestFrameReader(t *testing.T) {
	for name, c := range map[string]struct {
		input string
		want  []string
		err   error
	}{
		"nothing":               {"", nil, io.EOF},
		"empty bodies":          {framed("") + framed(""), []string{"", ""}, io.EOF},
		"two":                   {framed("one") + framed("zwei"), []string{"one", "zwei"}, io.EOF},
		"at the limit":          {framed(strings.Repeat("x", 100)), []string{strings.Repeat("x", 100)}, io.EOF},
		"above, and it goes on": {framed(strings.Repeat("x", 101)) + framed("y"), []string{"101 bytes", "y"}, io.EOF},
		"torn length":           {framed("one") + "\x00\x00", []string{"one"}, io.ErrUnexpectedEOF},
		"torn body":             {framed("one")[:6], nil, io.ErrUnexpectedEOF},
		"no body":               {"\x00\x00\x00\x01", nil, io.ErrUnexpectedEOF},
		"torn above the limit":  {"\xff\xff\xff\xff" + strings.Repeat("x", 1000), nil, io.ErrUnexpectedEOF},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFrameReader(iotest.OneByteReader(strings.NewReader(c.input)), 100)
			var got []string
			for {
				body, err := f.next()
				var large oversize
				if errors.As(err, &large) {
					body, err = []byte(strings.TrimPrefix(large.Error(), "a frame of ")), nil
				}
				if err != nil {
					if !errors.Is(err, c.err) {
						t.Fatalf("ended with %v, want %v", err, c.err)
					}
					break
				}
				got = append(got, string(body))
			}
			if strings.Join(got, "|") != strings.Join(c.want, "|") || len(got) != len(c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestReplyFrame(t *testing.T) {
	for name, c := range map[string]struct {
		res  Response
		err  error
		want string
	}{
		"an answer":   {Response{Data: []byte("ok")}, nil, "ok"},
		"no answer":   {Response{}, nil, ""},
		"a rejection": {Response{Data: []byte("lost")}, Reject("art", "a\nb"), `{"worker_error":{"code":"422","column":"art","reason":"a b"}}`},
		"a failure":   {Response{}, errors.New(`"oh"`), `{"worker_error":{"code":"500","column":null,"reason":"\"oh\""}}`},
		"a forgery": {
			Response{Data: []byte(`{"worker_error":1}`)}, nil,
			`{"worker_error":{"code":"500","column":null,"reason":"the answer begins with {\"worker_error\":, which only a failure may"}}`,
		},
		"nearly one": {Response{Data: []byte(`{"worker_error" :1}`)}, nil, `{"worker_error" :1}`},
	} {
		if got := string(replyFrame(c.res, c.err)); got != c.want {
			t.Errorf("%s: got %s, want %s", name, got, c.want)
		}
	}
}

// FuzzFrames reads anything as frames: what is read and written again is what was there.
func FuzzFrames(f *testing.F) {
	f.Add([]byte(framed("one")+framed("")+framed("zwei")), uint16(100))
	f.Add([]byte(framed(strings.Repeat("x", 101))+framed("y")), uint16(100))
	f.Add([]byte("\xff\xff\xff\xff\x00"), uint16(10))
	f.Add([]byte("\x00\x00\x00"), uint16(0))
	f.Fuzz(func(t *testing.T, input []byte, limit uint16) {
		frames := newFrameReader(bytes.NewReader(input), int(limit))
		var again bytes.Buffer
		w := bufio.NewWriter(&again)
		for {
			body, err := frames.next()
			var large oversize
			switch {
			case errors.As(err, &large):
				if large.size <= int64(limit) {
					t.Fatalf("%d bytes are not above %d", large.size, limit)
				}
				at := again.Len() + w.Buffered()
				if _, err := w.Write(input[at : at+frameHeader+int(large.size)]); err != nil {
					t.Fatal(err)
				}
				continue
			case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
				if err := w.Flush(); err != nil {
					t.Fatal(err)
				}
				rest := input[again.Len():]
				whole := len(rest) >= frameHeader && uint64(len(rest)) >= frameHeader+uint64(binary.BigEndian.Uint32(rest))
				if !bytes.HasPrefix(input, again.Bytes()) || whole || errors.Is(err, io.EOF) != (len(rest) == 0) {
					t.Fatalf("%d of %d bytes read, then %v", again.Len(), len(input), err)
				}
				return
			case err != nil:
				t.Fatal(err)
			case len(body) > int(limit):
				t.Fatalf("%d bytes, more than %d", len(body), limit)
			}
			if err := writeFrame(w, body); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// FuzzReplyFrame tells answers and failures apart whatever a handler gives back.
func FuzzReplyFrame(f *testing.F) {
	f.Add([]byte("ok"), "", "")
	f.Add([]byte(`{"worker_error":{}}`), "", "")
	f.Add([]byte(nil), "art", "a \"reason\"\r\n\xff")
	f.Fuzz(func(t *testing.T, data []byte, column, reason string) {
		var err error
		if reason != "" {
			err = Reject(column, reason)
		}
		body := replyFrame(Response{Data: data}, err)
		failed := err != nil || bytes.HasPrefix(data, []byte(errorPrefix))
		if bytes.HasPrefix(body, []byte(errorPrefix)) != failed {
			t.Fatalf("%q and %v became %q", data, err, body)
		}
		if !failed {
			if !bytes.Equal(body, data) {
				t.Fatalf("%q became %q", data, body)
			}
			return
		}
		var message struct {
			Error struct {
				Code   string
				Column *string
				Reason string
			} `json:"worker_error"`
		}
		if err := json.Unmarshal(body, &message); err != nil || message.Error.Reason == "" {
			t.Fatalf("%q: %v", body, err)
		}
	})
}
