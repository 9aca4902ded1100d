package httpx

import (
	"net"
	"net/netip"
	"strings"

	"github.com/athena-gateway/athena/sdk"
)

// carriers is the number of places in which a request may have a key.
const carriers = 5

// credentials appends the keys that the request carries, in the order in which they count.
// They are the request's own bytes, valid until it has been answered.
func (r *Request) credentials(dst [][]byte) [][]byte {
	h := &r.fctx.Request.Header
	for _, name := range [...]string{"X-Athena-Key", "Apikey", "X-Api-Key"} {
		if key := h.Peek(name); len(key) > 0 {
			dst = append(dst, key)
		}
	}
	if key := bearer(h.Peek("Authorization")); len(key) > 0 {
		dst = append(dst, key)
	}
	if len(r.fctx.URI().QueryString()) > 0 {
		if key := r.fctx.QueryArgs().Peek("api_key"); len(key) > 0 {
			dst = append(dst, key)
		}
	}
	return dst
}

// bearer is the token of an Authorization header with the scheme Bearer, nil of others.
func bearer(header []byte) []byte {
	const scheme = "bearer "
	if len(header) < len(scheme) || !strings.EqualFold(string(header[:len(scheme)]), scheme) {
		return nil
	}
	token := header[len(scheme):]
	for len(token) > 0 && token[0] == ' ' {
		token = token[1:]
	}
	return token
}

// Admit asks a guard, once: for routes with the guard Own.
func (r *Request) Admit(guard Guard) error {
	r.admitted = true
	return r.server.guard(r, guard)
}

// Insist refuses a request of nobody, also where no key is asked for: for routes with the
// guard Own, after Admit.
func (r *Request) Insist() error {
	var array [carriers][]byte
	err := r.server.options.Keys.Insist(&r.Attempt, r.credentials(array[:0]))
	r.Principal = r.Attempt.Principal
	return err
}

// Identify reports whether it is known who asks, for routes whose answer depends on that though they
// ask for no key. A wrong admin key counts then; of a request without credentials nothing is recorded.
func (r *Request) Identify() bool {
	var array [carriers][]byte
	known := r.server.options.Keys.Identify(&r.Attempt, r.credentials(array[:0]))
	r.Principal = r.Attempt.Principal
	return known
}

// guard finds out who asks and decides whether what is guarded is for them. What depends on
// the client, on routes with the guard Data, gateway.Execute decides.
func (s *Server) guard(r *Request, guard Guard) error {
	keys, a := s.options.Keys, &r.Attempt
	a.RequestID, a.Method, a.Path, a.Remote = r.ID, r.route.Method, r.route.Path, remoteIP(r.fctx.RemoteAddr())
	var array [carriers][]byte
	credentials := r.credentials(array[:0])
	if guard == Admin {
		err := keys.Admin(a, credentials)
		r.Principal = a.Principal
		return err
	}
	if guard == Public {
		if len(credentials) > 0 && keys.Authenticate(a, credentials) == nil && a.Principal == nil {
			_ = keys.Anonymous(a, "") // a wrong key counts, but keeps nobody out
		}
		r.Principal = a.Principal
		return nil
	}
	if err := keys.Authenticate(a, credentials); err != nil {
		return err
	}
	r.Principal = a.Principal
	if guard.right != "" {
		return keys.Require(a, guard.right)
	}
	if r.Principal == nil && (guard == Key || keys.Closed()) {
		if err := keys.Anonymous(a, ""); err != nil {
			return err
		}
	}
	if r.Principal == nil && !keys.Closed() || r.Principal != nil && r.Principal.Admin && !keys.Enforced("") {
		return s.fromHere(r)
	}
	return nil
}

// fromHere is sameOrigin for a request that has no right key. Where the admin key would let it
// pass from any origin, a wrong one counts: the answers tell them apart.
func (s *Server) fromHere(r *Request) error {
	err := s.sameOrigin(r)
	if err != nil && s.options.Keys.Enforced("") {
		if wrong := s.options.Keys.Wrong(&r.Attempt); wrong != nil {
			return wrong
		}
	}
	return err
}

// remoteIP is the address that the connection comes from, without its port.
func remoteIP(a net.Addr) netip.Addr {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return tcp.AddrPort().Addr().Unmap()
}

// Foreign reports whether the request may be that of a web page of another site, to which a route
// that asks for no key shows nothing that is not for everybody.
func (r *Request) Foreign() bool { return r.server.sameOrigin(r) != nil }

// sameOrigin protects routes that ask for no key from web pages: a browser on this machine
// can reach what listens on the loopback, for whatever page it shows. A page of another
// site gives itself away by its Origin, one that had its own name point here by its Host.
func (s *Server) sameOrigin(r *Request) error {
	if s.options.AnyOrigin {
		return nil
	}
	const hint = "call from a program or from a page of the gateway itself, send an API key, or set api.allow_open: true if something in front of the gateway checks who asks"
	host := string(r.fctx.Host())
	if site := r.Header("Sec-Fetch-Site"); site == "cross-site" || site == "same-site" {
		return sdk.E(sdk.Forbidden, "cross_site_request", "web pages of other sites may not use this gateway").WithHint(hint)
	}
	if origin := r.Header("Origin"); origin != "" {
		if _, from, _ := strings.Cut(origin, "://"); !strings.EqualFold(from, host) {
			return sdk.E(sdk.Forbidden, "cross_site_request", "web pages of other sites may not use this gateway").WithHint(hint)
		}
	}
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.Trim(name, "[]")
	if ip := net.ParseIP(name); ip != nil || strings.EqualFold(name, "localhost") || name == "" || r.HostLabel() != "" {
		return nil
	}
	return sdk.E(sdk.Forbidden, "host_not_allowed", "the gateway is asked for by a host name that is not its own").WithHint(hint)
}
