package sdktest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/athena-gateway/athena/sdk"
)

// canary stands in for the secrets of configs: alone, as the password of a URL, among
// the words of a connection string, and behind characters that JSON and URLs escape.
const canary = "canary-9d2e77"

var canaries = []string{
	canary,
	"postgres://canary:" + canary + "@127.0.0.1:1/none",
	"host=127.0.0.1 port=1 user=canary password=" + canary + " dbname=none",
	`a"b\c&d<e>%é/` + canary,
}

// minSecret is the shortest secret that is looked for: the SDK removes no shorter ones.
const minSecret = 4

// secretsCheck opens instances whose secrets are canaries, uses them and one with the
// target's config, and looks for secrets in all that leaves the plugin.
func secretsCheck(ctx context.Context, t *Target) error {
	secrets := []string{canary}
	add := func(secret string) {
		if len(secret) >= minSecret {
			secrets = append(secrets, secret)
		}
	}
	for _, secret := range t.Secrets {
		add(secret)
	}
	var process *Process
	err := connected(ctx, t, func(remote *sdk.Remote, _ *sdk.Manifest, schema *configSchema) error {
		config, err := t.config()
		if err != nil {
			return err
		}
		if t.Process != nil {
			process = t.Process()
		}
		_ = remote.SetLogLevel(ctx, "trace") // protocol/log_level checks that
		generation := uint64(0)
		for key, p := range schema.Properties {
			if !p.WriteOnly {
				continue
			}
			var value string
			if json.Unmarshal(config[key], &value) == nil {
				add(value)
			}
			for _, text := range canaries {
				generation++
				bad, err := json.Marshal(withKey(config, key, string(sdk.AppendString(nil, text))))
				if err != nil {
					return err
				}
				if err := t.useAnyhow(ctx, remote, "athena_canary", generation, bad, secrets, process); err != nil {
					return fmt.Errorf("with a canary for %s: %w", key, err)
				}
			}
		}
		if err := t.useAnyhow(ctx, remote, instanceName, 1, t.Config, secrets, process); err != nil {
			return err
		}
		settle(ctx, remote)
		return nil
	})
	if err != nil || process == nil {
		return err
	}
	if secret := firstIn(process.stderr.String(), secrets); secret != "" {
		return shown("what it prints to stderr", secret)
	}
	if secret := firstIn(process.stdout.String(), secrets); secret != "" {
		return shown("what it prints to stdout", secret)
	}
	return nil
}

// useAnyhow opens an instance, provokes errors in it if it opens, and closes it. Its error
// says where a secret shows, or that a statement of the dialect did not fail.
func (t *Target) useAnyhow(ctx context.Context, remote *sdk.Remote, name string, generation uint64, config json.RawMessage, secrets []string, process *Process) error {
	capabilities, err := remote.OpenInstance(ctx, name, generation, config)
	if err != nil {
		if broken(err) {
			return err
		}
		return showsNone(err, secrets)
	}
	c := &client{Target: t, remote: remote, capabilities: *capabilities}
	call := func(s sdk.Statement) error {
		call := c.call(s)
		call.Instance, call.Generation = name, generation
		_, err := c.execute(ctx, call)
		return err
	}
	if err := showsNone(call(c.probe()), secrets); err != nil {
		return err
	}
	if err := showsNone(remote.Ping(ctx, name, generation), secrets); err != nil {
		return err
	}
	for _, s := range []*sdk.Statement{t.Dialect.Leak, t.Dialect.Syntax, t.Dialect.Panic} {
		if s == nil {
			continue
		}
		err := call(*s)
		if err == nil {
			return errors.New("no error where one was provoked")
		}
		if err := showsNone(err, secrets); err != nil {
			return err
		}
	}
	metrics, err := remote.Metrics(ctx)
	if err != nil {
		return err
	}
	if secret := firstIn(fmt.Sprintf("%+v", metrics), secrets); secret != "" {
		return shown("a metric", secret)
	}
	if err := process.showsNone(secrets); err != nil {
		return err
	}
	return showsNone(remote.CloseInstance(ctx, name, generation), secrets)
}

// showsNone looks at what every user of the machine can see of the process and of those
// that it started. Only canaries are looked for in the environment: others may have come
// from whoever runs the checks.
func (p *Process) showsNone(secrets []string) error {
	if p == nil || onLinux(&Target{Process: func() *Process { return p }}, sdk.Capabilities{}) != "" {
		return nil
	}
	relatives, err := p.relatives()
	if err != nil {
		return err
	}
	for _, r := range relatives {
		if secret := firstIn(r.argv, secrets); secret != "" {
			return shown(fmt.Sprintf("the arguments of process %d", r.pid), secret)
		}
		if secret := firstIn(r.environment, []string{canary}); secret != "" {
			return shown(fmt.Sprintf("the environment of process %d", r.pid), secret)
		}
	}
	return nil
}

// showsNone checks that no text of err holds a secret.
func showsNone(err error, secrets []string) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	if e := (*sdk.Error)(nil); errors.As(err, &e) {
		text += fmt.Sprintf("%+v %s", *e, e.Details)
	}
	if secret := firstIn(text, secrets); secret != "" {
		return shown("an error", secret)
	}
	return nil
}

// firstIn is the first of secrets that text holds, "" if it holds none.
func firstIn(text string, secrets []string) string {
	for _, secret := range secrets {
		if strings.Contains(text, secret) {
			return secret
		}
	}
	return ""
}

func shown(where, secret string) error {
	return fmt.Errorf("a secret that begins with %.6s shows in %s", secret, where)
}
