package httpapi

import (
	"encoding/json"
	"slices"

	"github.com/athena-gateway/athena/core/gateway"
	"github.com/athena-gateway/athena/core/httpx"
	"github.com/athena-gateway/athena/sdk"
)

// Serve answers a request as the gateway's route of the operation does: fetch, insert,
// update, delete or query. It executes with execute, which may change the operation, for
// doors that know more of it than the request says. subject stands for the table_name, or
// for the text of the query, that the body lacks.
func (a *API) Serve(r *httpx.Request, operation, subject string, execute gateway.Executor) (*httpx.Response, error) {
	door := API{options: a.options, subject: subject}
	door.options.Execute, door.options.HostClient = execute, nil
	switch operation {
	case "fetch":
		return door.operate(r, operation, false, door.fetch)
	case "insert":
		return door.operate(r, operation, true, door.insert)
	case "update":
		return door.operate(r, operation, true, door.update)
	case "delete":
		return door.operate(r, operation, true, door.delete)
	case "query":
		return door.operate(r, operation, true, door.query)
	}
	return nil, invalid("unknown_operation", "there is no operation %s", quote(operation))
}

// ParseTable reads a table_name: a name, or schema.name.
func ParseTable(name string) (sdk.Table, error) {
	p := payload{table: name}
	return p.target()
}

// ParseColumns reads the member columns of a request for table: a text, or an array of
// texts. The items of a lone star are none.
func ParseColumns(columns json.RawMessage, table sdk.Table) ([]sdk.Item, error) {
	var p payload
	if err := p.decode(slices.Concat([]byte(`{"columns":`), columns, []byte(`}`))); err != nil {
		return nil, err
	}
	return selection(p.items, &table).Items, nil
}

// ParseConditions reads the member conditions of a request for table; nil when there are
// none.
func ParseConditions(conditions json.RawMessage, table sdk.Table) (*sdk.Filter, error) {
	var p payload
	if err := p.decode(slices.Concat([]byte(`{"conditions":`), conditions, []byte(`}`))); err != nil {
		return nil, err
	}
	return p.filter(&table), nil
}
