package pluginhost

import (
	"context"

	"github.com/athena-gateway/athena/sdk"
)

// Describe starts a plugin if it is not running and returns what it says of itself. It goes
// on running. Plugins then tells its version and the checksum of what runs.
func (h *Host) Describe(ctx context.Context, name string) (*sdk.Manifest, error) {
	p, err := h.plugin(name)
	if err != nil {
		return nil, err
	}
	proc, err := p.ready(ctx)
	if err != nil {
		return nil, err
	}
	return proc.manifest, nil
}

// Scan reads a plugin directory as Discover does, without a Host. Nothing is executed.
func Scan(dir string) ([]Plugin, error) {
	c := catalog{dir: dir}
	c.trust.mode = VerifyWarn // processes under development are no files
	plugins, err := c.read()
	for i := range plugins {
		plugins[i].Warning = ""
	}
	return plugins, err
}
