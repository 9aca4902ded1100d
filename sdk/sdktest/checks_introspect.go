package sdktest

import (
	"context"
	"fmt"
	"slices"

	"github.com/athena-gateway/athena/sdk"
)

var introspectChecks = []Check{
	{Name: "introspect/table", Doc: "a new table is told with its columns and keys when the database is looked at, one that does not exist is not", Needs: introspects, Run: with(introspectCheck)},
}

func introspects(_ *Target, c sdk.Capabilities) string {
	if !c.Introspect {
		return "introspection"
	}
	return ""
}

func introspectCheck(ctx context.Context, c *client) error {
	schema, err := c.remote.Introspect(ctx, instanceName, 1, sdk.IntrospectQuery{Tables: []sdk.Table{itemsTable, {Name: "athena_absent"}}, Reload: true})
	if err != nil {
		return err
	}
	if len(schema.Tables) != 1 || schema.Tables[0].Name != itemsTable.Name {
		return fmt.Errorf("told %d tables, want only %s", len(schema.Tables), itemsTable.Name)
	}
	t := &schema.Tables[0]
	var names []string
	for _, column := range t.Columns {
		names = append(names, column.Name)
		if column.Type == "" {
			return fmt.Errorf("the column %s has no type", column.Name)
		}
	}
	switch {
	case t.Kind != sdk.KindTable:
		return fmt.Errorf("%s is told to be a %s", t.Name, t.Kind)
	case !slices.Equal(names, itemColumns):
		return fmt.Errorf("told the columns %v, want %v", names, itemColumns)
	case !slices.Equal(t.Key, []string{"id"}):
		return fmt.Errorf("told the key %v, want id", t.Key)
	case !slices.ContainsFunc(t.Unique, func(key []string) bool { return slices.Equal(key, []string{"code"}) }):
		return fmt.Errorf("told the further keys %v, want code among them", t.Unique)
	case t.Columns[1].Nullable || !t.Columns[2].Nullable:
		return fmt.Errorf("name is told to be nullable, or code not to be")
	case !t.Insertable || !t.Updatable || !t.Deletable:
		return fmt.Errorf("%s is told not to be writable", t.Name)
	}
	return nil
}
