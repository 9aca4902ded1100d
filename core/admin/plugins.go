package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/athena-gateway/athena/core/httpx"
	"github.com/athena-gateway/athena/core/httpx/adminapi"
	"github.com/athena-gateway/athena/core/pluginhost"
	"github.com/athena-gateway/athena/sdk"
	"github.com/athena-gateway/athena/sdk/sqlbuild"
)

const (
	// restartTimeout bounds the wait for a new process, which has to open its instances. It
	// is longer than each of the host's own bounds on the way.
	restartTimeout = 45 * time.Second
	lookEvery      = 20 * time.Millisecond
	// levelTimeout bounds the wait for a plugin to take note of its level.
	levelTimeout = 5 * time.Second
	maxLines     = 1000 // that may be asked for; the host keeps fewer
)

func (a *API) listPlugins(*httpx.Request) (*httpx.Response, error) {
	all := describeAll(a.host.Plugins())
	return adminapi.Success(200, count(len(all), "plugin"), map[string]any{"plugins": all})
}

func (a *API) getPlugin(r *httpx.Request) (*httpx.Response, error) {
	s, err := a.plugin(r)
	if err != nil {
		return nil, err
	}
	return answer(s, fmt.Sprintf("plugin %s is %s", s.Name, s.State))
}

// answer has one plugin.
func answer(s *pluginhost.Status, message string) (*httpx.Response, error) {
	return adminapi.Success(200, message, map[string]any{"plugin": describe(s, time.Now())})
}

// reloadPlugins looks at the directory and tells what differs from what was known, or runs.
func (a *API) reloadPlugins(r *httpx.Request, _ *difference) (*httpx.Response, error) {
	if err := adminapi.NoBody(r); err != nil {
		return nil, err
	}
	added, changed, removed := []string{}, []string{}, []string{}
	before := a.host.Plugins()
	a.host.Reload()
	there := map[string]bool{}
	for _, file := range a.host.Discover() {
		there[file.Name] = true
		at := slices.IndexFunc(before, func(s pluginhost.Status) bool { return s.Name == file.Name && s.State != pluginhost.Stopped })
		switch {
		case at < 0:
			added = append(added, file.Name)
		case before[at].Checksum != file.Checksum:
			changed = append(changed, file.Name)
		}
	}
	for _, s := range before {
		if !there[s.Name] && s.State != pluginhost.Stopped {
			removed = append(removed, s.Name)
		}
	}
	message := count(len(there), "plugin") + " in the directory"
	for _, group := range []struct {
		what  string
		names []string
	}{{"added", added}, {"changed", changed}, {"removed", removed}} {
		if len(group.names) > 0 {
			message += "; " + group.what + ": " + strings.Join(group.names, ", ")
		}
	}
	return adminapi.Success(200, message, map[string]any{"plugins": describeAll(a.host.Plugins()), "added": added, "changed": changed, "removed": removed})
}

// restartPlugin answers when the new process serves.
func (a *API) restartPlugin(r *httpx.Request, _ *difference) (*httpx.Response, error) {
	s, err := a.plugin(r)
	if err != nil {
		return nil, err
	}
	if err := adminapi.NoBody(r); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), restartTimeout)
	defer cancel()
	if err := a.host.Restart(ctx, s.Name); err != nil {
		e := *sdk.AsError(err)
		if e.Hint == "" {
			e.Hint = fmt.Sprintf("what it printed is in GET /admin/plugins/%s/logs", s.Name)
		}
		return nil, &e
	}
	// One that did not run opens its clients only now.
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		if s, err = a.plugin(r); err != nil {
			return nil, err
		}
		if s.State != pluginhost.Opening || ctx.Err() != nil {
			return answer(s, fmt.Sprintf("plugin %s was restarted", s.Name))
		}
		select {
		case <-look.C:
		case <-ctx.Done():
		}
	}
}

func (a *API) releasePlugin(r *httpx.Request, _ *difference) (*httpx.Response, error) {
	s, err := a.plugin(r)
	if err != nil {
		return nil, err
	}
	if err := adminapi.NoBody(r); err != nil {
		return nil, err
	}
	before := s.State
	if err := a.host.Release(s.Name); err != nil {
		return nil, err
	}
	if s, err = a.plugin(r); err != nil {
		return nil, err
	}
	message := fmt.Sprintf("plugin %s was %s: what went wrong with it is forgotten", s.Name, before)
	if before == pluginhost.Quarantined {
		message = fmt.Sprintf("plugin %s was released from quarantine", s.Name)
	}
	return answer(s, message)
}

// pluginLogs answers the last lines that a plugin printed.
func (a *API) pluginLogs(r *httpx.Request) (*httpx.Response, error) {
	s, err := a.plugin(r)
	if err != nil {
		return nil, err
	}
	lines := a.host.Logs(s.Name)
	if r.HasQuery("lines") {
		n, err := strconv.Atoi(r.Query("lines"))
		if err != nil || n < 1 || n > maxLines {
			e := sdk.E(sdk.Invalid, "invalid_lines", fmt.Sprintf("lines: want a whole number from 1 to %d", maxLines))
			e.Details = json.RawMessage(fmt.Sprintf(`{"fields":{"lines":"want a whole number from 1 to %d"}}`, maxLines))
			return nil, e
		}
		lines = lines[max(0, len(lines)-n):]
	}
	return adminapi.Success(200, count(len(lines), "line"), map[string]any{"name": s.Name, "lines": append([]string{}, lines...)})
}

// setLogLevel reads {"level": "debug"}.
func (a *API) setLogLevel(r *httpx.Request, done *difference) (*httpx.Response, error) {
	s, err := a.plugin(r)
	if err != nil {
		return nil, err
	}
	var level string
	if err := adminapi.ReadBody(r.Body, map[string]func(json.RawMessage) error{"level": func(v json.RawMessage) error {
		levels := []string{"trace", "debug", "info", "warn", "error"}
		if json.Unmarshal(v, &level) == nil && slices.Contains(levels, level) {
			return nil
		}
		message := "want one of " + strings.Join(levels, ", ")
		if near := sqlbuild.NearestName(level, levels); level != "" && near != "" {
			message += fmt.Sprintf("; did you mean %q?", near)
		}
		return errors.New(message)
	}}); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), levelTimeout)
	defer cancel()
	before := map[string]string{"level": s.LogLevel}
	if err := a.host.SetLogLevel(ctx, s.Name, level); err != nil {
		return nil, err
	}
	done.before, done.after = before, map[string]string{"level": level}
	if s, err = a.plugin(r); err != nil {
		return nil, err
	}
	return answer(s, fmt.Sprintf("plugin %s logs from level %s on", s.Name, level))
}

// count is "1 plugin" or "2 plugins".
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}
