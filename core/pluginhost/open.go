package pluginhost

import (
	"fmt"

	"github.com/athena-gateway/athena/sdk"
)

// Unavailable tells why the instance serves no calls now; nil while it is open. The reasons:
// "plugin_removed", "plugin_quarantined", "plugin_backoff" while the plugin's next start is
// put off, "plugin_starting", or why the plugin could not open it.
func (i *Instance) Unavailable() *sdk.Error {
	if i.now.Load() != nil {
		return nil
	}
	p := i.plugin
	p.mu.Lock()
	running, e := p.process != nil, p.refusal()
	if e != nil && !p.gone && p.state == Backoff {
		e.Reason = "plugin_backoff"
	}
	p.mu.Unlock()
	if e != nil && !running {
		return e
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if running && i.openErr != nil {
		return i.openErr
	}
	return unavailable("plugin_starting", fmt.Sprintf("the backend's plugin %q is being started", p.name))
}
