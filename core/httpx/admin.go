package httpx

import (
	"crypto/sha256"
	"crypto/subtle"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/athena-gateway/athena/sdk"
)

// adminGuard keeps the Admin routes: they are closed while there is no key, and open to
// requests that carry it.
type adminGuard struct {
	set     bool
	sum     [sha256.Size]byte // of the key, which is not kept
	refused *prometheus.CounterVec
}

// The ways to be refused, which are codes of answers and labels of the metric.
const (
	adminDisabled    = "admin_disabled"
	adminKeyRequired = "admin_key_required"
	invalidAdminKey  = "invalid_admin_key"
)

func newAdminGuard(key string, registry *prometheus.Registry) *adminGuard {
	g := &adminGuard{set: key != "", sum: sha256.Sum256([]byte(key)), refused: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "athena_admin_refused_total", Help: "Requests for operators' routes without the admin key.",
	}, []string{"reason"})}
	for _, reason := range []string{adminDisabled, adminKeyRequired, invalidAdminKey} {
		g.refused.WithLabelValues(reason)
	}
	registry.MustRegister(g.refused)
	return g
}

// check is nil for a request that carries the key in one of the headers for keys.
func (g *adminGuard) check(r *Request) *sdk.Error {
	if !g.set {
		return sdk.E(sdk.Forbidden, adminDisabled, "the operators' routes are closed: this gateway has no admin key").
			WithHint("set the environment variable ATHENA_KEY_12 to a random text of 16 characters or more, start the gateway again, and send the text as X-Athena-Key")
	}
	sent, right := 0, 0
	for _, name := range []string{"X-Athena-Key", "apikey", "x-api-key", "Authorization"} {
		key := r.Header(name)
		if name == "Authorization" {
			scheme, token, _ := strings.Cut(key, " ")
			if !strings.EqualFold(scheme, "Bearer") {
				continue
			}
			key = strings.TrimSpace(token)
		}
		if key == "" {
			continue
		}
		sent++
		sum := sha256.Sum256([]byte(key))
		right |= subtle.ConstantTimeCompare(sum[:], g.sum[:])
	}
	switch {
	case right == 1:
		return nil
	case sent == 0:
		return sdk.E(sdk.Unauthenticated, adminKeyRequired, "this route is for operators").
			WithHint("send the admin key as X-Athena-Key, apikey, x-api-key or Authorization: Bearer")
	}
	return sdk.E(sdk.Unauthenticated, invalidAdminKey, "the admin key is wrong").
		WithHint("it is the value of the environment variable ATHENA_KEY_12 with which the gateway was started")
}

// admin decides on an Admin route. Who is refused is counted, and logged without the key.
func (s *Server) admin(r *Request) error {
	e := s.adminGuard.check(r)
	if e == nil {
		return nil
	}
	s.adminGuard.refused.WithLabelValues(e.Reason).Inc()
	s.log.Warn("a request for operators was refused", "code", e.Reason, "remote", r.Remote(),
		"method", r.Method(), "route", r.route.Path, "trace_id", r.ID)
	return e
}
