package sqlbuild

import "github.com/athena-gateway/athena/sdk"

// aggregated reports whether a level's rows are groups: it has an aggregate or a bucket.
func aggregated(selection *sdk.Selection) bool { return false }

// group writes the GROUP BY of a level that is aggregated.
func (b *builder) group(selection *sdk.Selection) {}
