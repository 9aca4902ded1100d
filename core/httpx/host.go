package httpx

import "strings"

// maxLabel is the length of a label in the DNS.
const maxLabel = 63

// hostLabel cuts the label before domain off a Host header: "A.example.org:80" is "a" for
// "example.org". "" if the host is another one, or has more labels.
func hostLabel(host, domain string) string {
	if domain == "" {
		return ""
	}
	name := host
	if at := strings.LastIndexByte(host, ':'); at >= 0 && strings.Trim(host[at+1:], "0123456789") == "" {
		name = host[:at]
	}
	// An absolute name ends in a dot. A label of another script travels as xn--..., in letters
	// of this one.
	name = strings.TrimSuffix(name, ".")
	at := len(name) - len(domain) - 1
	if at < 1 || at > maxLabel || name[at] != '.' || !strings.EqualFold(name[at+1:], domain) {
		return ""
	}
	label := []byte(name[:at])
	for i, c := range label {
		switch {
		case c >= 'A' && c <= 'Z':
			label[i] += 'a' - 'A'
		case (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_':
			return ""
		}
	}
	return string(label)
}
