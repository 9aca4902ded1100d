package provision

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"github.com/athena-gateway/athena/sdk"
)

// hosts are those that a caller's URI may name: the gateway stands where it reaches more than
// its callers do.
type hosts struct {
	names   map[string]bool // in lower case
	folders map[string]bool // of Unix sockets
	ranges  []netip.Prefix
	lookup  func(ctx context.Context, name string) ([]netip.Addr, error)
}

// parseHosts reads names, addresses, ranges of addresses such as 10.0.0.0/8, and folders of
// sockets.
func parseHosts(list []string) (*hosts, error) {
	h := &hosts{names: map[string]bool{}, folders: map[string]bool{}, lookup: func(ctx context.Context, name string) ([]netip.Addr, error) {
		return net.DefaultResolver.LookupNetIP(ctx, "ip", name)
	}}
	for _, entry := range list {
		if addr, err := netip.ParseAddr(entry); err == nil {
			addr = addr.Unmap()
			h.ranges = append(h.ranges, netip.PrefixFrom(addr, addr.BitLen()))
		} else if prefix, err := netip.ParsePrefix(entry); err == nil {
			h.ranges = append(h.ranges, prefix.Masked())
		} else if filepath.IsAbs(entry) {
			h.folders[filepath.Clean(entry)] = true
		} else if name := plainName(entry); name != "" && !strings.ContainsAny(name, "/:@*% \t") {
			h.names[name] = true
		} else {
			return nil, fmt.Errorf("provision.allowed_hosts: %q is no name of a host, no address, no range of addresses such as 10.0.0.0/8 and no folder of sockets", entry)
		}
	}
	return h, nil
}

func plainName(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

// resolve returns the addresses at which each host may be connected to. It refuses all if one
// is not allowed, by its name or by the address behind it.
func (h *hosts) resolve(ctx context.Context, list []string) (map[string][]string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	found := map[string][]string{}
	for _, host := range list {
		if filepath.IsAbs(host) {
			if !h.folders[filepath.Clean(host)] {
				return nil, notAllowed(fmt.Sprintf("the socket in %s", host))
			}
			continue // it is not looked up
		}
		if addr, err := netip.ParseAddr(host); err == nil {
			if !h.listed(addr) {
				return nil, notAllowed(host)
			}
			found[host] = []string{addr.String()}
			continue
		}
		name := plainName(host)
		if !h.names[name] {
			return nil, notAllowed(host)
		}
		addrs, err := h.lookup(ctx, host)
		if err != nil {
			return nil, &sdk.Error{Kind: sdk.Unavailable, Reason: "unreachable", Source: sdk.FromHost, Executed: sdk.ExecutedNo, RetryAfter: time.Second,
				Message: fmt.Sprintf("the name %s has no address", host), Hint: "check the name, and that the gateway's machine can resolve it", Log: err.Error()}
		}
		for _, addr := range addrs {
			if special(addr.Unmap()) && !h.listed(addr) && (name != "localhost" || !addr.Unmap().IsLoopback()) {
				return nil, notAllowed(fmt.Sprintf("%s, which is %s,", host, addr))
			}
			found[host] = append(found[host], addr.String())
		}
	}
	return found, nil
}

// listed reports whether an address is allowed as such.
func (h *hosts) listed(addr netip.Addr) bool {
	for _, prefix := range h.ranges {
		if prefix.Contains(addr.Unmap().WithZone("")) {
			return true
		}
	}
	return false
}

// special are addresses that only this machine or its network gives a meaning, such as that
// of a cloud's metadata: a name that leads there was not meant.
func special(addr netip.Addr) bool {
	return addr.IsLoopback() || addr.IsLinkLocalUnicast() || addr.IsMulticast() || addr.IsUnspecified()
}

func notAllowed(what string) error {
	return sdk.E(sdk.Forbidden, "host_not_allowed", what+" is not a host whose databases may be provisioned by URI").
		WithHint("add it to provision.allowed_hosts of the gateway's configuration, or name a registered client as client_name")
}
