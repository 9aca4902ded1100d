package sdktest

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"

	"github.com/athena-gateway/athena/sdk"
)

// decimal is digits / 10^scale.
type decimal struct {
	digits *big.Int
	scale  int
}

var ten = big.NewInt(10)

func power(n int) *big.Int { return new(big.Int).Exp(ten, big.NewInt(int64(n)), nil) }

// parseDecimal reads a JSON number.
func parseDecimal(c cell) decimal {
	mantissa, exponent, _ := strings.Cut(strings.ToLower(string(c)), "e")
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits, _ := new(big.Int).SetString(whole+fraction, 10)
	shift, _ := strconv.Atoi(exponent)
	d := decimal{digits, len(fraction) - shift}
	if d.scale < 0 {
		d = d.rescale(0)
	}
	return d
}

// rescale gives d another scale, rounding half away from zero.
func (d decimal) rescale(scale int) decimal {
	if scale >= d.scale {
		return decimal{new(big.Int).Mul(d.digits, power(scale-d.scale)), scale}
	}
	return decimal{quotient(d.digits, power(d.scale-scale)), scale}
}

// quotient divides, rounding half away from zero.
func quotient(a, b *big.Int) *big.Int {
	q, r := new(big.Int).QuoRem(a, b, new(big.Int))
	if r.Abs(r).Lsh(r, 1).CmpAbs(b) >= 0 {
		q.Add(q, big.NewInt(int64(a.Sign()*b.Sign())))
	}
	return q
}

func (d decimal) add(e decimal) decimal {
	scale := max(d.scale, e.scale)
	return decimal{new(big.Int).Add(d.rescale(scale).digits, e.rescale(scale).digits), scale}
}

// divide has at least 16 significant digits, as numeric has: counted in groups of four.
func (d decimal) divide(n int64) decimal {
	weight, first := d.leading()
	divisorWeight, divisorFirst := decimal{big.NewInt(n), 0}.leading()
	weight -= divisorWeight
	if first <= divisorFirst {
		weight--
	}
	scale := max(16-4*weight, d.scale, 0)
	numerator := new(big.Int).Mul(d.digits, power(scale))
	denominator := new(big.Int).Mul(big.NewInt(n), power(d.scale))
	return decimal{quotient(numerator, denominator), scale}
}

// trimmed is d without the zeros at its end.
func (d decimal) trimmed() decimal {
	for d.scale > 0 {
		q, r := new(big.Int).QuoRem(d.digits, ten, new(big.Int))
		if r.Sign() != 0 {
			return d
		}
		d = decimal{q, d.scale - 1}
	}
	return d
}

// leading is the first group of four digits that is not zero, counted from the point,
// and which group it is.
func (d decimal) leading() (weight int, group int64) {
	if d.digits.Sign() == 0 {
		return 0, 0
	}
	shift := (4 - d.scale%4) % 4
	digits := new(big.Int).Mul(new(big.Int).Abs(d.digits), power(shift)).String()
	groups := (len(digits) + 3) / 4
	group, _ = strconv.ParseInt(digits[:len(digits)-4*(groups-1)], 10, 64)
	return groups - 1 - (d.scale+shift)/4, group
}

func (d decimal) cell() cell {
	digits := new(big.Int).Abs(d.digits).String()
	sign := ""
	if d.digits.Sign() < 0 {
		sign = "-"
	}
	if d.scale == 0 {
		return cell(sign + digits)
	}
	if len(digits) <= d.scale {
		digits = strings.Repeat("0", d.scale-len(digits)+1) + digits
	}
	point := len(digits) - d.scale
	return cell(sign + digits[:point] + "." + digits[point:])
}

// castType is what a type name means: a kind, and for integers how many bits.
type castType struct {
	kind kind
	bits int
}

var castTypes = map[string]castType{
	"text": {kindText, 0}, "int": {kindInt, 32}, "integer": {kindInt, 32}, "smallint": {kindInt, 16}, "bigint": {kindInt, 64},
	"numeric": {kindNumber, 0}, "bool": {kindBool, 0}, "boolean": {kindBool, 0},
}

func castTo(name string) (castType, error) {
	to, ok := castTypes[strings.ToLower(strings.TrimSpace(name))]
	if !ok {
		return castType{kind: kindText}, sdk.E(sdk.Unsupported, "unsupported_cast", fmt.Sprintf("this backend has no cast to %q", name)).
			WithHint("cast to text, smallint, integer, bigint, numeric or boolean")
	}
	return to, nil
}

// cast turns a cell of a kind into one of another type.
func (to castType) cast(from kind, c cell) (cell, error) {
	switch {
	case c == nil:
		return nil, nil
	case to.kind == kindText && from == kindJSON && c[0] == '"':
		return textCell(string(c)), nil
	case to.kind == kindText && from.element() != "":
		return textCell(arrayText(c)), nil
	case to.kind == kindText && from == kindJSON:
		return textCell(jsonText(c)), nil
	case to.kind == kindText && from == kindTime:
		return textCell(strings.Replace(text(c), "T", " ", 1)), nil
	case to.kind == kindText && from == kindNumber:
		return textCell(string(parseDecimal(c).cell())), nil
	case to.kind == kindInt && (from == kindInt || from == kindNumber):
		return to.fit(parseDecimal(c).rescale(0).digits)
	}
	made, err := to.kind.parse(text(c))
	if err != nil || to.kind != kindInt {
		return made, err
	}
	return to.fit(parseDecimal(made).digits)
}

// fit checks that an integer has no more than the type's bits.
func (to castType) fit(n *big.Int) (cell, error) {
	if !n.IsInt64() || n.Int64() != n.Int64()<<(64-to.bits)>>(64-to.bits) {
		e := sdk.E(sdk.Invalid, "numeric_value_out_of_range", n.String()+" is out of range")
		e.Source = sdk.FromDownstream
		return nil, e
	}
	return cell(n.String()), nil
}
