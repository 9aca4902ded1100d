package main

// samples are requests to the sample database, with the gateway's URL to fill in.
const samples = `
Paste one of these into another terminal:

# the larger moons, largest first
curl -sw '\n' %[1]s/gateway/fetch -H 'X-Athena-Client: demo' -H 'Content-Type: application/json' -d '{
  "table_name": "moons", "columns": "name,radius_km,discovered",
  "conditions": [{"column": "radius_km", "operator": "gt", "value": 1500}],
  "sort_by": {"field": "radius_km", "direction": "desc"}}'

# hire somebody; the answer is the new row
curl -sw '\n' -X PUT %[1]s/gateway/insert -H 'X-Athena-Client: demo' -H 'Content-Type: application/json' -d '{
  "table_name": "crew", "insert_body": {"name": "Ada", "role": "pilot"}, "columns": "id,name,role,active"}'

# any SQL
curl -sw '\n' %[1]s/gateway/query -H 'X-Athena-Client: demo' -H 'Content-Type: application/json' -d '{
  "query": "SELECT p.name, count(*) AS moons FROM planets p JOIN moons m ON m.planet_id = p.id GROUP BY p.name ORDER BY moons DESC"}'

`
