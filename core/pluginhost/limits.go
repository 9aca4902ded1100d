package pluginhost

// Limits of one plugin process; 0 is none.
type Limits struct {
	// Memory in bytes: Go plugins collect harder as they come near it, and a process that
	// holds more is killed.
	Memory int64
	// OpenFiles is how many descriptors it may have open.
	OpenFiles uint64
}

// limits are those of a plugin: its own where it has any, else everybody's.
func (o *Options) limits(name string) Limits {
	l, own := o.Limits, o.PluginLimits[name]
	if own.Memory > 0 {
		l.Memory = own.Memory
	}
	if own.OpenFiles > 0 {
		l.OpenFiles = own.OpenFiles
	}
	return l
}
