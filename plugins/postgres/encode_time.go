package main

import (
	"bytes"
	"math"
	"strconv"
)

// timeStyle is how a timestamp is written.
type timeStyle struct {
	separator byte   // between date and time
	utc       string // the zone
}

var (
	jsonTimes = timeStyle{separator: 'T', utc: "+00:00"} // to_json's
	textTimes = timeStyle{separator: ' ', utc: "+00"}    // the text form's
)

// appendTimestampText rewrites the ISO text of a timestamp as to_json writes it: a T
// between date and time, and a zone with minutes. A text in another style, which SQL can
// set, stays as it is.
func appendTimestampText(dst, src []byte, zone bool) []byte {
	dst = append(dst, '"')
	date, clock, ok := bytes.Cut(src, []byte(" "))
	if year := bytes.IndexByte(date, '-'); !ok || year < 4 { // infinity, 31.12.2024 10:00
		dst = append(dst, src...)
		return append(dst, '"')
	}
	dst = append(dst, date...)
	dst = append(dst, 'T')
	clock, bc := bytes.CutSuffix(clock, []byte(" BC"))
	dst = append(dst, clock...)
	if zone && len(clock) > 3 {
		if sign := clock[len(clock)-3]; sign == '+' || sign == '-' {
			dst = append(dst, ":00"...)
		}
	}
	if bc {
		dst = append(dst, " BC"...)
	}
	return append(dst, '"')
}

const microsecondsPerDay = 24 * 60 * 60 * 1_000_000

// appendDate appends a date given as days since 2000-01-01.
func appendDate(dst []byte, days int32) []byte {
	switch days {
	case math.MaxInt32:
		return append(dst, "infinity"...)
	case math.MinInt32:
		return append(dst, "-infinity"...)
	}
	dst, bc := appendDay(dst, int64(days))
	if bc {
		dst = append(dst, " BC"...)
	}
	return dst
}

// appendTimestamp appends a time given as microseconds since 2000-01-01.
func appendTimestamp(dst []byte, t int64, utc bool, style *timeStyle) []byte {
	switch t {
	case math.MaxInt64:
		return append(dst, "infinity"...)
	case math.MinInt64:
		return append(dst, "-infinity"...)
	}
	days, rest := t/microsecondsPerDay, t%microsecondsPerDay
	if rest < 0 {
		days, rest = days-1, rest+microsecondsPerDay
	}
	dst, bc := appendDay(dst, days)
	seconds, micros := rest/1_000_000, rest%1_000_000
	dst = append(dst, style.separator)
	dst = appendTwo(dst, seconds/3600)
	dst = appendTwo(append(dst, ':'), seconds/60%60)
	dst = appendTwo(append(dst, ':'), seconds%60)
	if micros != 0 {
		digits := 6
		for micros%10 == 0 {
			micros /= 10
			digits--
		}
		dst = append(dst, ".000000"[:1+digits]...)
		for i := len(dst) - 1; micros > 0; i-- {
			dst[i] = byte('0' + micros%10)
			micros /= 10
		}
	}
	if utc {
		dst = append(dst, style.utc...)
	}
	if bc {
		dst = append(dst, " BC"...)
	}
	return dst
}

// appendDay appends year, month and day; bc says that the year counts before Christ.
// The calendar is computed as Howard Hinnant's civil_from_days does.
func appendDay(dst []byte, days int64) (_ []byte, bc bool) {
	const toMarch0000 = 730425 // days from 0000-03-01 to 2000-01-01
	z := days + toMarch0000
	era := z / 146097
	if z < 0 {
		era = (z - 146096) / 146097
	}
	dayOfEra := z - era*146097
	yearOfEra := (dayOfEra - dayOfEra/1460 + dayOfEra/36524 - dayOfEra/146096) / 365
	dayOfYear := dayOfEra - (365*yearOfEra + yearOfEra/4 - yearOfEra/100)
	month := (5*dayOfYear + 2) / 153
	day := dayOfYear - (153*month+2)/5 + 1
	year := yearOfEra + era*400
	if month += 3; month > 12 {
		month -= 12
		year++
	}
	if year <= 0 {
		year, bc = 1-year, true
	}
	if year < 10000 {
		dst = appendTwo(appendTwo(dst, year/100), year%100)
	} else {
		dst = strconv.AppendInt(dst, year, 10)
	}
	dst = appendTwo(append(dst, '-'), month)
	return appendTwo(append(dst, '-'), day), bc
}

func appendTwo(dst []byte, n int64) []byte {
	return append(dst, byte('0'+n/10), byte('0'+n%10))
}
