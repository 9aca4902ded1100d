package auth

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"github.com/athena-gateway/athena/core/ledger"
	"github.com/athena-gateway/athena/sdk"
)

// The rights for data, and those for the schemas of databases. The names are the original
// server's; of the two for functions it is only known that they begin with management.functions,
// so they end as the others do that write and drop.
const (
	Fetch  = "gateway.fetch.execute"
	Insert = "gateway.insert.execute"
	Update = "gateway.update.execute"
	Delete = "gateway.delete.execute"
	Query  = "gateway.query.execute"
	RPC    = "gateway.rpc.execute"

	ReadSchema      = "management.read"
	WriteTables     = "management.tables.write"
	DropTables      = "management.tables.drop"
	DropColumns     = "management.columns.drop"
	WriteIndexes    = "management.indexes.write"
	DropIndexes     = "management.indexes.drop"
	WriteExtensions = "management.extensions.write"
	WriteFunctions  = "management.functions.write"
	DropFunctions   = "management.functions.drop"
	WriteDatabases  = "management.provision.write"
)

// Right is a right by name.
type Right struct {
	Name        string `json:"name"`
	Description string `json:"description"`
}

// Catalogue are the rights that the gateway knows, which every ledger has.
func Catalogue() []Right { return slices.Clone(catalogue) }

var catalogue = []Right{
	{Fetch, "Read rows of tables and views, and count them"},
	{Insert, "Insert rows; an upsert that changes rows needs gateway.update.execute too"},
	{Update, "Change rows"},
	{Delete, "Delete rows"},
	{Query, "Execute SQL text, which may do whatever the database's user may"},
	{RPC, "Call functions of the database"},
	{ReadSchema, "Read what may be changed of a database's schema, and what is there"},
	{WriteTables, "Create tables and change them"},
	{DropTables, "Drop tables"},
	{DropColumns, "Drop columns"},
	{WriteIndexes, "Create indexes"},
	{DropIndexes, "Drop indexes"},
	{WriteExtensions, "Install extensions"},
	{WriteFunctions, "Create functions and replace them"},
	{DropFunctions, "Drop functions"},
	{WriteDatabases, "Create databases"},
}

func isBuiltIn(name string) bool {
	return slices.ContainsFunc(catalogue, func(r Right) bool { return r.Name == name })
}

// RightRecord is a right as operators see it.
type RightRecord struct {
	ID          string    `json:"id"`
	Name        string    `json:"name"`
	Description *string   `json:"description"`
	Created     time.Time `json:"created_at"`
	Updated     time.Time `json:"updated_at"`
}

// RightRecords lists rights by name, from offset on.
func (k *Keyring) RightRecords(ctx context.Context, limit, offset int) (list []RightRecord, total int64, err error) {
	err = k.ledger.Read(ctx, func(ctx context.Context, c *sql.Conn) error {
		if err := c.QueryRowContext(ctx, "SELECT count(*) FROM api_key_rights").Scan(&total); err != nil {
			return err
		}
		list, err = rightRecords(ctx, c, "ORDER BY name LIMIT $1 OFFSET $2", limit, offset)
		return err
	})
	return list, total, err
}

func rightRecords(ctx context.Context, c *sql.Conn, where string, args ...any) ([]RightRecord, error) {
	list := []RightRecord{}
	err := each(ctx, c, func(scan func(...any) error) error {
		var r RightRecord
		err := scan(&r.ID, &r.Name, &r.Description, &r.Created, &r.Updated)
		r.Created, r.Updated = r.Created.UTC(), r.Updated.UTC()
		list = append(list, r)
		return err
	}, "SELECT api_key_rights_id, name, description, created_at, updated_at FROM api_key_rights "+where, args...)
	return list, err
}

func rightNames(ctx context.Context, c *sql.Conn) (names []string, err error) {
	err = each(ctx, c, func(scan func(...any) error) error {
		var name string
		err := scan(&name)
		names = append(names, name)
		return err
	}, "SELECT name FROM api_key_rights ORDER BY name")
	return names, err
}

func oneRight(ctx context.Context, c *sql.Conn, id string) (RightRecord, error) {
	unknown := sdk.E(sdk.NotFound, "unknown_right", "there is no right of this id").WithHint("GET /admin/api-key-rights lists them")
	if !isID(id) {
		return RightRecord{}, unknown
	}
	list, err := rightRecords(ctx, c, "WHERE api_key_rights_id = $1", id)
	if err == nil && len(list) == 0 {
		return RightRecord{}, unknown
	}
	if err != nil {
		return RightRecord{}, err
	}
	return list[0], nil
}

// CreateRight adds a right.
func (k *Keyring) CreateRight(ctx context.Context, audit *ledger.Audit, name string, description *string) (r RightRecord, err error) {
	id := newID()
	err = k.ledger.Change(ctx, ledger.Keys, audit, func(ctx context.Context, c *sql.Conn) error {
		if _, err := c.ExecContext(ctx, "INSERT INTO api_key_rights (api_key_rights_id, name, description, created_at, updated_at) VALUES ($1, $2, $3, $4, $4)",
			id, name, description, k.now().UTC()); err != nil {
			return rightExists(err, name)
		}
		if r, err = oneRight(ctx, c, id); err != nil {
			return err
		}
		return picture(audit, "api_key_rights/"+id, nil, r)
	})
	return r, err
}

// UpdateRight changes what edit changes of a right's name and description; keys keep it, and have
// changed with its name.
func (k *Keyring) UpdateRight(ctx context.Context, audit *ledger.Audit, id string, edit func(*RightRecord)) (r RightRecord, err error) {
	err = k.ledger.Change(ctx, ledger.Keys, audit, func(ctx context.Context, c *sql.Conn) error {
		before, err := oneRight(ctx, c, id)
		if err != nil {
			return err
		}
		wanted := before
		edit(&wanted)
		if wanted.Name != before.Name && isBuiltIn(before.Name) {
			return builtIn(before.Name)
		}
		now := k.now().UTC()
		if _, err := c.ExecContext(ctx, "UPDATE api_key_rights SET name = $1, description = $2, updated_at = $3 WHERE api_key_rights_id = $4",
			wanted.Name, wanted.Description, now, id); err != nil {
			return rightExists(err, wanted.Name)
		}
		if wanted.Name != before.Name {
			if err := changeHolders(ctx, c, id, now); err != nil {
				return err
			}
		}
		if r, err = oneRight(ctx, c, id); err != nil {
			return err
		}
		return picture(audit, "api_key_rights/"+id, before, r)
	})
	return r, err
}

// heldRight is a right and the keys that have it, for the audit of its end.
type heldRight struct {
	RightRecord
	Keys []string `json:"api_keys"` // ids
}

// DeleteRight removes a right, also from the keys that have it, whose number it returns.
func (k *Keyring) DeleteRight(ctx context.Context, audit *ledger.Audit, id string) (keys int, err error) {
	err = k.ledger.Change(ctx, ledger.Keys, audit, func(ctx context.Context, c *sql.Conn) error {
		right, err := oneRight(ctx, c, id)
		if err != nil {
			return err
		}
		if isBuiltIn(right.Name) {
			return builtIn(right.Name)
		}
		before := heldRight{right, []string{}}
		if err := each(ctx, c, func(scan func(...any) error) error {
			var key string
			err := scan(&key)
			before.Keys = append(before.Keys, key)
			return err
		}, `SELECT k.api_keys_id FROM api_key_right_grants g JOIN api_keys k ON k.id = g.api_key_id JOIN api_key_rights r ON r.id = g.right_id
			WHERE r.api_key_rights_id = $1 AND k.deleted_at IS NULL ORDER BY k.id`, id); err != nil {
			return err
		}
		if err := changeHolders(ctx, c, id, k.now().UTC()); err != nil {
			return err
		}
		for _, statement := range []string{
			"DELETE FROM api_key_right_grants WHERE right_id = (SELECT id FROM api_key_rights WHERE api_key_rights_id = $1)",
			"DELETE FROM api_key_rights WHERE api_key_rights_id = $1",
		} {
			if _, err := c.ExecContext(ctx, statement, id); err != nil {
				return err
			}
		}
		keys = len(before.Keys)
		return picture(audit, "api_key_rights/"+id, before, nil)
	})
	return keys, err
}

// changeHolders says of the keys that have a right that they have changed: their records show it.
func changeHolders(ctx context.Context, c *sql.Conn, right string, now time.Time) error {
	_, err := c.ExecContext(ctx, `UPDATE api_keys SET updated_at = $1 WHERE deleted_at IS NULL AND id IN (SELECT g.api_key_id
		FROM api_key_right_grants g JOIN api_key_rights r ON r.id = g.right_id WHERE r.api_key_rights_id = $2)`, now, right)
	return err
}

func rightExists(err error, name string) error {
	if e := ledger.Classify(err); e.Reason == "already_exists" {
		return sdk.E(sdk.Conflict, "right_exists", fmt.Sprintf("there is a right named %q already", name)).
			WithHint("GET /admin/api-key-rights lists them")
	}
	return err
}

func builtIn(name string) error {
	return sdk.E(sdk.Conflict, "right_is_built_in", fmt.Sprintf("the gateway itself knows the right %q", name)).
		WithHint("it can be described anew, but neither renamed nor deleted")
}
