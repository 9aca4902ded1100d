// Command floor is what the bench compares Athena with: the least work that answers the
// bench's requests with the same bodies. One process, fasthttp and pgx, one hard-coded
// handler per case, nothing configurable about the answers. It is no gateway.
package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/valyala/fasthttp"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:4053", "address to serve on")
	uri := flag.String("uri", "", "PostgreSQL URI of the bench database")
	pool := flag.Int("pool", 16, "connections to PostgreSQL")
	flag.Parse()
	if err := run(*listen, *uri, int32(*pool)); err != nil {
		log.Fatal(err)
	}
}

func run(listen, uri string, pool int32) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	f := &floor{}
	if err := f.connect(ctx, uri, pool); err != nil {
		return err
	}
	defer f.pool.Close()
	server := &fasthttp.Server{
		Handler:            f.handle,
		MaxRequestBodySize: 64 << 20,
		ReadBufferSize:     16 << 10,
		WriteBufferSize:    16 << 10,
	}
	failed := make(chan error, 1)
	go func() { failed <- server.ListenAndServe(listen) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		log.Print(context.Cause(ctx))
		return server.Shutdown()
	}
}

// floor holds the pool and the statements that are prepared on each of its connections.
type floor struct {
	pool *pgxpool.Pool

	mu       sync.Mutex
	prepared map[string]*pgconn.StatementDescription // the same on every connection
}

func (f *floor) connect(ctx context.Context, uri string, size int32) error {
	config, err := pgxpool.ParseConfig(uri)
	if err != nil {
		return err
	}
	// Reads of 64 KiB instead of pgx's 8 KiB: fewer system calls for many rows.
	config.ConnConfig.BuildFrontend = func(r io.Reader, w io.Writer) *pgproto3.Frontend {
		return pgproto3.NewFrontend(bufio.NewReaderSize(r, 64<<10), w)
	}
	config.MaxConns = size
	config.MinConns = size
	f.prepared = map[string]*pgconn.StatementDescription{}
	config.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		for name, text := range statements {
			sd, err := conn.PgConn().Prepare(ctx, name, text, nil)
			if err != nil {
				return fmt.Errorf("prepare %s: %w", name, err)
			}
			f.mu.Lock()
			if f.prepared[name] == nil {
				f.prepared[name] = sd
			}
			f.mu.Unlock()
		}
		return nil
	}
	f.pool, err = pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return err
	}
	return f.pool.Ping(ctx)
}

// statement may run concurrently with the connections that are still being opened.
func (f *floor) statement(name string) *pgconn.StatementDescription {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.prepared[name]
}
