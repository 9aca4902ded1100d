package main

import (
	"context"
	"errors"
	"io"
	"strconv"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/valyala/fasthttp"
)

// streamChunk is how many bytes of rows go out at a time.
const streamChunk = 64 << 10

// stream answers with the million rows while they arrive.
func (f *floor) stream(ctx *fasthttp.RequestCtx) error {
	conn, err := f.pool.Acquire(context.Background())
	if err != nil {
		return err
	}
	ctx.Response.SetBodyStream(&rowStream{floor: f, conn: conn}, -1)
	return nil
}

// rowStream is a response body. fasthttp hands WriteTo's chunks to the socket without a
// copy, so Read is never called.
type rowStream struct {
	floor *floor
	conn  *pgxpool.Conn
}

func (s *rowStream) SupportsBodyWriteTo() bool { return true }

func (s *rowStream) Read([]byte) (int, error) {
	return 0, errors.New("the stream is written, not read")
}

func (s *rowStream) WriteTo(w io.Writer) (int64, error) {
	conn := s.conn.Conn().PgConn()
	result := s.floor.execute(conn, "rowsMillion")
	buf := append(make([]byte, 0, streamChunk+8<<10), `{"data":[`...)
	rows, written := 0, int64(0)
	for result.NextRow() {
		if rows > 0 {
			buf = append(buf, ',')
		}
		rows++
		buf = appendRow(buf, result.Values())
		if len(buf) < streamChunk {
			continue
		}
		n, err := w.Write(buf)
		written += int64(n)
		if err != nil {
			return written, errors.Join(err, conn.Close(context.Background()))
		}
		buf = buf[:0]
	}
	if _, err := result.Close(); err != nil {
		return written, err
	}
	buf = append(buf, `],"status":"success","message":"Fetched `...)
	buf = strconv.AppendInt(buf, int64(rows), 10)
	n, err := w.Write(append(buf, ` rows"}`...))
	return written + int64(n), err
}

// Close gives the connection back; the pool drops it if WriteTo closed it.
func (s *rowStream) Close() error {
	s.conn.Release()
	return nil
}
