package sdk

import "testing"

func TestFramePool(t *testing.T) {
	for _, length := range []int{1, smallFrame, smallFrame + 1, largeFrame, largeFrame + 1, 1 << 20} {
		foreign := make([]byte, 0, length-1)
		frames.Put(&foreign)
		for range 4 { // some of them lent before
			b := frames.Get(length)
			if len(*b) != length {
				t.Fatalf("got %d bytes, want %d", len(*b), length)
			}
			*b = (*b)[:length/2]
			frames.Put(b)
		}
	}
}
