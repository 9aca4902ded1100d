package admin

import (
	"github.com/athena-gateway/athena/core/auth"
	"github.com/athena-gateway/athena/core/httpx"
	"github.com/athena-gateway/athena/core/httpx/adminapi"
	"github.com/athena-gateway/athena/core/ledger"
	"github.com/athena-gateway/athena/sdk"
)

const wantRight = "want a name such as reports.read: 1 to 100 letters, digits, points, - and _"

func isRight(name string) bool {
	for _, c := range name {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '.' && c != '-' && c != '_' {
			return false
		}
	}
	return name != "" && len(name) <= 100
}

func (a *API) listRights(r *httpx.Request) (*httpx.Response, error) {
	p, err := adminapi.ReadPage(r)
	if err != nil {
		return nil, err
	}
	list, total, err := a.keys.RightRecords(r.Context(), p.Limit, p.Offset)
	if err != nil {
		return nil, err
	}
	return p.Answer("right", "rights", list, total)
}

func (a *API) createRight(r *httpx.Request, audit *ledger.Audit) (*httpx.Response, error) {
	var name, description adminapi.Field[string]
	if err := adminapi.ReadClientBody(r.Body, adminapi.Members{
		"name":        name.Required(wantRight, isRight),
		"description": description.Nullable(wantDescription, adminapi.TextOf(0, 1000)),
	}); err != nil {
		return nil, err
	}
	right, err := a.keys.CreateRight(r.Context(), audit, name.Or(""), description.Value)
	if err != nil {
		return nil, err
	}
	return adminapi.Success(201, "right created", map[string]any{"right": right})
}

func (a *API) updateRight(r *httpx.Request, audit *ledger.Audit) (*httpx.Response, error) {
	var name, description adminapi.Field[string]
	if err := adminapi.ReadClientBody(r.Body, adminapi.Members{
		"name":        name.Optional(wantRight, isRight),
		"description": description.Nullable(wantDescription, adminapi.TextOf(0, 1000)),
	}); err != nil {
		return nil, err
	}
	if !name.Sent && !description.Sent {
		return nil, sdk.E(sdk.Invalid, "invalid_body", "the request body changes nothing of the right").WithHint("send name, description or both")
	}
	right, err := a.keys.UpdateRight(r.Context(), audit, r.Param("id"), func(right *auth.RightRecord) {
		right.Name = name.Or(right.Name)
		if description.Sent {
			right.Description = description.Value
		}
	})
	if err != nil {
		return nil, err
	}
	return adminapi.Success(200, "right changed", map[string]any{"right": right})
}

func (a *API) deleteRight(r *httpx.Request, audit *ledger.Audit) (*httpx.Response, error) {
	if err := adminapi.NoBody(r); err != nil {
		return nil, err
	}
	id := r.Param("id")
	keys, err := a.keys.DeleteRight(r.Context(), audit, id)
	if err != nil {
		return nil, err
	}
	return adminapi.Success(200, "right deleted; it was taken from "+count(keys, "API key"), map[string]any{"id": id})
}

// rightsCatalog lists the rights that the gateway itself knows.
func (a *API) rightsCatalog(*httpx.Request) (*httpx.Response, error) {
	list := auth.Catalogue()
	return adminapi.Success(200, count(len(list), "right"), map[string]any{"rights": list})
}
