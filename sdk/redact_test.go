package sdk

import (
	"bytes"
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
)

// TestSecretsAreRemovedHoweverTheyAreWritten writes the secrets of a config as logs and
// errors do.
func TestSecretsAreRemovedHoweverTheyAreWritten(t *testing.T) {
	const hidden = "canary-2c61"
	for name, secret := range map[string]any{
		"text":              hidden,
		"quotes":            `a"b\c<d>&é ` + hidden,
		"URL":               "postgres://user:" + hidden + "@host/db",
		"escaped URL":       "postgres://user:a%2Fb" + hidden + "@host/db",
		"connection string": "host=db user=x password='a b " + hidden + "' port=1",
		"query":             "https://host/?token=" + hidden + "&a=b",
		"list":              []string{"first", hidden},
		"map":               map[string]string{"a": hidden},
	} {
		config, err := json.Marshal(map[string]any{"key": secret})
		if err != nil {
			t.Fatal(err)
		}
		var set secretSet
		set.add(config, []string{"key"})
		var log bytes.Buffer
		logger := hclog.New(&hclog.LoggerOptions{JSONFormat: true, Output: &redactingWriter{w: &log, secrets: &set}})
		text, ok := secret.(string)
		if !ok {
			text = hidden
		}
		logger.Error("it says "+text, "with", text)
		quoted, _ := json.Marshal(text)
		for _, written := range []string{text, string(quoted), url.QueryEscape(text), url.PathEscape(text)} {
			log.WriteString(set.clean("before " + written + " after"))
		}
		if u, err := url.Parse(text); err == nil && u.User != nil {
			password, _ := u.User.Password()
			log.WriteString(set.clean("the password is " + password))
		}
		if _, password, ok := strings.Cut(text, "password='"); ok {
			password, _, _ = strings.Cut(password, "'")
			log.WriteString(set.clean("the password is " + password))
		}
		if _, token, ok := strings.Cut(text, "token="); ok {
			token, _, _ = strings.Cut(token, "&")
			log.WriteString(set.clean("the token is " + token))
		}
		if strings.Contains(log.String(), hidden) || !strings.Contains(log.String(), "***") {
			t.Errorf("%s: %s", name, log.String())
		}
	}
}
