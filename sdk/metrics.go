package sdk

// Metric is a number that an instance tells of itself, such as how many connections it
// has. The gateway shows it as athena_PLUGIN_NAME with a label for the client.
type Metric struct {
	Name    string // small letters, digits and underscores; a counter's ends in _total
	Help    string // one sentence
	Counter bool   // it only grows; else it goes up and down
	Labels  []Pair // the same names for each Metric of that name
	Value   float64
}

// Meter is implemented by an Instance that has metrics. Metrics is called at every scrape
// and must not wait for anything.
type Meter interface {
	Metrics() []Metric
}
