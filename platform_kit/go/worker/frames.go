package worker

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"sync/atomic"
)

// A frame is a length of four bytes, big-endian, and a body: Wombat's codec length_prefixed_uint32_be.
const (
	frameHeader = 4
	believed    = 1 << 20 // memory for more than this is taken only as the bytes come
)

// frameReader reads frames in memory bounded by limit, whatever length they claim.
type frameReader struct {
	r     *bufio.Reader
	limit int
	begun atomic.Int64 // frames of which the first byte is here
}

func newFrameReader(r io.Reader, limit int) *frameReader {
	return &frameReader{r: bufio.NewReaderSize(r, 64<<10), limit: limit}
}

// oversize is a frame above the limit. It has been read to its end, so that the next one can be read.
type oversize struct{ size int64 }

func (e oversize) Error() string { return fmt.Sprintf("a frame of %d bytes", e.size) }

// next returns the body of the next frame, io.EOF after the last, io.ErrUnexpectedEOF (wrapped) if the input ends
// inside a frame, or oversize.
func (f *frameReader) next() ([]byte, error) {
	if _, err := f.r.Peek(1); err != nil {
		return nil, err
	}
	f.begun.Add(1)
	var header [frameHeader]byte
	if n, err := io.ReadFull(f.r, header[:]); err != nil {
		return nil, torn(n, frameHeader, "the length", err)
	}
	size := int64(binary.BigEndian.Uint32(header[:]))
	if size > int64(f.limit) {
		if n, err := io.CopyN(io.Discard, f.r, size); err != nil {
			return nil, torn(int(n), int(size), "the body", err)
		}
		return nil, oversize{size}
	}
	if size <= believed {
		body := make([]byte, size)
		if n, err := io.ReadFull(f.r, body); err != nil {
			return nil, torn(n, int(size), "the body", err)
		}
		return body, nil
	}
	var body bytes.Buffer
	if n, err := io.CopyN(&body, f.r, size); err != nil {
		return nil, torn(int(n), int(size), "the body", err)
	}
	return body.Bytes(), nil
}

func torn(got, want int, part string, err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("the input ended in %s of a frame, after %d of %d bytes: %w", part, got, want, err)
}

// writeFrame writes one frame into w, which it does not flush.
func writeFrame(w *bufio.Writer, body []byte) error {
	var header [frameHeader]byte
	binary.BigEndian.PutUint32(header[:], uint32(len(body)))
	if _, err := w.Write(header[:]); err != nil {
		return err
	}
	_, err := w.Write(body)
	return err
}

// errorPrefix begins the body of a frame that says why a request failed.
const errorPrefix = `{"worker_error":`

// replyFrame returns the body of the frame that answers a request.
func replyFrame(res Response, err error) []byte {
	switch {
	case err != nil:
	case uint64(len(res.Data)) > math.MaxUint32:
		err = fmt.Errorf("the answer has %d bytes, more than a frame holds", len(res.Data))
	case bytes.HasPrefix(res.Data, []byte(errorPrefix)):
		err = fmt.Errorf("the answer begins with %s, which only a failure may", errorPrefix)
	default:
		return res.Data
	}
	code, _, body := ErrorReply(err)
	// body is the object {"column":...,"reason":...}; the code joins it.
	return fmt.Appendf(nil, `%s{"code":"%s",%s}`, errorPrefix, code, body[1:])
}
