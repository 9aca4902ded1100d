package httpapi

import (
	"strings"

	"github.com/athena-gateway/athena/sdk"
)

// parseExpression reads the text value of an or or not condition:
//
//	terms = term ("," term)*
//	term  = column "." operator "." value | ("and" | "or" | "not") "(" terms ")" | "not." term | "(" terms ")"
//
// null, true, false and decimal numbers are typed, all else is text; a column or value in
// double quotes is taken literally, with backslash before quote and backslash.
func parseExpression(operator, text string, n *terms) (sdk.Filter, *sdk.Error) {
	p := expression{text: text, count: n}
	if operator == "not" {
		// Both JavaScript clients write lists of not without their parentheses.
		if column, list, ok := strings.Cut(text, ".in."); ok && !strings.ContainsAny(column, `.,("`) && !strings.Contains(list, "(") {
			p.text = column + ".in.(" + list + ")"
		}
	}
	children := p.terms(3) // below the conjunction of all conditions and this one
	if p.err == "" && p.i < len(p.text) {
		p.fail("unexpected " + quoteAt(p.text, p.i))
	}
	if p.err != "" {
		return sdk.Filter{}, invalid("invalid_expression", "%s expression %q: %s", operator, clip(text), p.err).
			WithHint("write terms such as a.eq.1,and(b.gt.2,c.is.null), and quote values that hold commas or parentheses")
	}
	if operator == "not" {
		return sdk.Filter{Kind: sdk.FilterNot, Children: children}, nil
	}
	return sdk.Filter{Kind: sdk.FilterOr, Children: children}, nil
}

// expression is a parser at a place of its text.
type expression struct {
	text  string
	i     int
	err   string
	count *terms
}

// more counts another term and fails when there is no room for it.
func (p *expression) more() {
	if !p.count.more() {
		p.fail("it is too long")
	}
}

func (p *expression) fail(what string) {
	if p.err == "" {
		p.err = what
	}
}

func (p *expression) space() {
	for p.i < len(p.text) && strings.IndexByte(" \t\r\n", p.text[p.i]) >= 0 {
		p.i++
	}
}

// take goes over word if it is next.
func (p *expression) take(word string) bool {
	if strings.HasPrefix(p.text[p.i:], word) {
		p.i += len(word)
		return true
	}
	return false
}

// terms reads terms up to the end or a closing parenthesis.
func (p *expression) terms(depth int) []sdk.Filter {
	var filters []sdk.Filter
	for p.err == "" {
		filters = append(filters, p.term(depth))
		p.space()
		if !p.take(",") {
			break
		}
	}
	return filters
}

// group reads terms and their closing parenthesis.
func (p *expression) group(kind sdk.FilterKind, depth int) sdk.Filter {
	f := sdk.Filter{Kind: kind, Children: p.terms(depth + 1)}
	if p.err == "" && !p.take(")") {
		p.fail("a closing parenthesis is missing")
	}
	return f
}

func (p *expression) term(depth int) sdk.Filter {
	p.space()
	p.more()
	switch {
	case depth > sdk.MaxFilterDepth:
		p.fail("it nests too deep")
		return sdk.Filter{}
	case p.take("("):
		return p.group(sdk.FilterAnd, depth)
	case p.take("and("):
		return p.group(sdk.FilterAnd, depth)
	case p.take("or("):
		return p.group(sdk.FilterOr, depth)
	case p.take("not("):
		return p.group(sdk.FilterNot, depth)
	case p.take("not."):
		return sdk.Filter{Kind: sdk.FilterNot, Children: []sdk.Filter{p.term(depth + 1)}}
	}
	return p.comparison()
}

// comparison reads column.operator.value.
func (p *expression) comparison() sdk.Filter {
	f := sdk.Filter{Compare: sdk.Lenient}
	start := p.i
	column, ok := p.quoted()
	if !ok {
		column = p.upTo(".,()")
	}
	f.Column.Name = strings.TrimSpace(column)
	if p.err != "" || f.Column.Name == "" || strings.IndexByte(column, 0) >= 0 || !p.take(".") {
		p.fail("a term must look like column.operator.value, not " + quoteAt(p.text, start))
		return f
	}
	name := strings.TrimSpace(p.upTo(".,()"))
	if f.Operator, ok = operators[name]; !ok || !p.take(".") {
		p.fail("after " + quote(f.Column.Name) + " an operator and a value must follow, such as .eq.1; the operators are " + operatorNames)
		return f
	}
	switch f.Operator {
	case sdk.In:
		f.Values = p.list()
		return f
	case sdk.Is:
		v, err := isValue(p.value(false))
		if err != nil {
			p.fail(err.Error())
		}
		f.Values = []sdk.Value{v}
		return f
	}
	v := p.value(f.Operator == sdk.Contains || f.Operator == sdk.Contained)
	switch {
	case v.Hint == sdk.Null && f.Operator == sdk.Eq:
		f.Operator = sdk.Is
	case v.Hint == sdk.Null && f.Operator == sdk.Neq:
		f.Operator, v = sdk.Is, sdk.Value{Hint: sdk.String, Text: "not_null"}
	}
	f.Values = []sdk.Value{v}
	return f
}

// list reads (a,b,…).
func (p *expression) list() []sdk.Value {
	values := []sdk.Value{}
	if !p.take("(") {
		p.fail("in takes a list in parentheses, such as a.in.(1,2)")
		return nil
	}
	if p.space(); p.take(")") {
		return values
	}
	for p.err == "" {
		values = append(values, p.value(false))
		p.more()
		if p.take(",") {
			continue
		}
		if !p.take(")") {
			p.fail("a closing parenthesis is missing")
		}
		break
	}
	return values
}

// value reads a value up to the comma or parenthesis that ends it; parentheses inside it
// must balance. In a literal, braces and brackets guard commas too.
func (p *expression) value(literal bool) sdk.Value {
	p.space()
	if s, ok := p.quoted(); ok {
		p.space()
		if p.i < len(p.text) && p.text[p.i] != ',' && p.text[p.i] != ')' {
			p.fail("unexpected " + quoteAt(p.text, p.i) + " after a quoted value")
		}
		return sdk.Value{Hint: sdk.String, Text: s}
	}
	opening, closing := "(", ")"
	if literal && p.i < len(p.text) && (p.text[p.i] == '{' || p.text[p.i] == '[') {
		opening, closing = "([{", ")]}"
	}
	start, depth := p.i, 0
	for ; p.i < len(p.text); p.i++ {
		c := p.text[p.i]
		switch {
		case strings.IndexByte(opening, c) >= 0:
			depth++
		case depth > 0 && strings.IndexByte(closing, c) >= 0:
			depth--
		case depth == 0 && (c == ',' || c == ')'):
			return typed(strings.TrimSpace(p.text[start:p.i]))
		}
	}
	if depth > 0 {
		p.fail("a closing parenthesis is missing")
	}
	return typed(strings.TrimSpace(p.text[start:]))
}

// typed gives a bare word its type.
func typed(s string) sdk.Value {
	switch s {
	case "null":
		return sdk.Value{Hint: sdk.Null}
	case "true", "false":
		return sdk.Value{Hint: sdk.Bool, Text: s}
	}
	if end, f := skipNumber([]byte(s), 0); f == sound && end == len(s) && !strings.ContainsAny(s, "eE") {
		return sdk.Value{Hint: sdk.Number, Text: s}
	}
	return sdk.Value{Hint: sdk.String, Text: s}
}

// quoted reads text in double quotes if it is next.
func (p *expression) quoted() (string, bool) {
	if p.i >= len(p.text) || p.text[p.i] != '"' {
		return "", false
	}
	var b strings.Builder
	for i := p.i + 1; i < len(p.text); i++ {
		switch c := p.text[i]; {
		case c == '"':
			p.i = i + 1
			return b.String(), true
		case c == '\\' && i+1 < len(p.text):
			i++
			b.WriteByte(p.text[i])
		default:
			b.WriteByte(c)
		}
	}
	p.fail("a closing quote is missing")
	return "", true
}

// upTo reads up to one of stops, which stays.
func (p *expression) upTo(stops string) string {
	start := p.i
	if n := strings.IndexAny(p.text[p.i:], stops); n >= 0 {
		p.i += n
	} else {
		p.i = len(p.text)
	}
	return p.text[start:p.i]
}

func quote(s string) string { return `"` + clip(s) + `"` }

// quoteAt quotes what stands at i.
func quoteAt(s string, i int) string {
	if i >= len(s) {
		return "the end"
	}
	return quote(s[i:])
}

// clip shortens text for a message.
func clip(s string) string {
	const most = 60
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
