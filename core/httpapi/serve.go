package httpapi

import (
	"encoding/json"
	"slices"

	"github.com/athena-gateway/athena/core/gateway"
	"github.com/athena-gateway/athena/core/httpx"
	"github.com/athena-gateway/athena/sdk"
)

// Serve answers a request through another door, as the gateway's route of the operation does:
// fetch, insert, update, delete or query. as has what the door decides: Door, Name, Path and
// Target, whatever the request says of it. subject stands for the table_name, or for the text
// of the query, that the body lacks. execute executes, and may change the operation before.
func (a *API) Serve(r *httpx.Request, as *gateway.Operation, subject string, execute gateway.Executor) (*httpx.Response, error) {
	door := API{options: a.options, as: as, subject: subject}
	door.options.Execute, door.options.HostClient = execute, nil
	switch as.Name {
	case "fetch":
		return door.operate(r, as.Name, false, door.fetch)
	case "insert":
		return door.operate(r, as.Name, true, door.insert)
	case "update":
		return door.operate(r, as.Name, true, door.update)
	case "delete":
		return door.operate(r, as.Name, true, door.delete)
	case "query":
		return door.operate(r, as.Name, true, door.query)
	}
	return nil, invalid("unknown_operation", "there is no operation %s", quote(as.Name))
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
