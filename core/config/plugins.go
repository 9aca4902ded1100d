package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Beyond these a limit is a slip: a tebibyte, and what Linux allows a process at most.
const (
	maxMemoryMB  = 1 << 20
	maxOpenFiles = 1 << 20
)

// setPassEnv reads plugins.pass_env, a list of variables' names; in a variable or flag they
// are separated by commas.
func setPassEnv(c *Config, v any) error {
	list, ok := v.([]any)
	if text, isText := v.(string); isText {
		for name := range strings.SplitSeq(text, ",") {
			list = append(list, strings.TrimSpace(name))
		}
	} else if !ok {
		return errors.New("want a list of variables' names, such as [HTTPS_PROXY]")
	}
	for _, item := range list {
		switch name, _ := item.(string); {
		case !isVariable(name):
			return errors.New("want names of variables, of letters, digits and underscores and without their values")
		case strings.HasPrefix(name, "ATHENA_"):
			return fmt.Errorf("%s is the gateway's own: what a plugin needs has another name, or is in its client's config", name)
		default:
			c.Plugins.PassEnv = append(c.Plugins.PassEnv, name)
		}
	}
	return nil
}

// setPluginLimits reads plugins.limits, {NAME: {memory_mb: N, open_files: N}}.
func setPluginLimits(c *Config, v any) error {
	if v == nil {
		return nil
	}
	byName, ok := v.(map[string]any)
	if !ok {
		return errors.New("want, in the file, a mapping such as {postgres: {memory_mb: 512, open_files: 4096}}")
	}
	var mistakes []string
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		limits, err := pluginLimits(byName[name])
		if err != nil {
			mistakes = append(mistakes, name+err.Error())
			continue
		}
		if c.Plugins.ByName == nil {
			c.Plugins.ByName = map[string]Limits{}
		}
		c.Plugins.ByName[name] = limits
	}
	if len(mistakes) > 0 {
		return errors.New(strings.Join(mistakes, "; "))
	}
	return nil
}

// pluginLimits reads the limits of one plugin. Its error begins with the rest of the key.
func pluginLimits(v any) (Limits, error) {
	body, ok := v.(map[string]any)
	if !ok {
		return Limits{}, errors.New(": want a mapping such as {memory_mb: 512, open_files: 4096}")
	}
	var limits Limits
	for _, key := range slices.Sorted(maps.Keys(body)) {
		var n int
		var err error
		switch key {
		case "memory_mb":
			n, err = wholeNumber(body[key], 1, maxMemoryMB)
			limits.Memory = int64(n) << 20
		case "open_files":
			n, err = wholeNumber(body[key], 1, maxOpenFiles)
			limits.OpenFiles = n
		default:
			err = fmt.Errorf("unknown key%s", didYouMean(nearest(key, []string{"memory_mb", "open_files"})))
		}
		if err != nil {
			return Limits{}, fmt.Errorf(".%s: %w", key, err)
		}
	}
	return limits, nil
}
