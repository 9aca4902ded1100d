-- The same tables as for PostgreSQL. Times are texts in UTC, which the driver reads by their
-- declared type.

-- +goose Up
CREATE TABLE control_versions (
	subject TEXT PRIMARY KEY,
	version INTEGER NOT NULL);
CREATE TABLE ledger_batches (
	id TEXT PRIMARY KEY,
	created_at TIMESTAMP NOT NULL);
CREATE INDEX ledger_batches_by_time ON ledger_batches (created_at);
CREATE TABLE athena_clients (
	id TEXT PRIMARY KEY,
	client_name TEXT NOT NULL DEFAULT '',
	description TEXT,
	backend TEXT NOT NULL DEFAULT 'postgres',
	config TEXT,
	pg_uri TEXT,
	pg_uri_env_var TEXT,
	config_uri_template TEXT,
	source TEXT NOT NULL DEFAULT 'database',
	is_active BOOLEAN NOT NULL DEFAULT true,
	is_frozen BOOLEAN NOT NULL DEFAULT false,
	last_synced_from_config_at TIMESTAMP,
	last_seen_at TIMESTAMP,
	metadata TEXT NOT NULL DEFAULT '{}',
	created_at TIMESTAMP NOT NULL,
	updated_at TIMESTAMP NOT NULL,
	deleted_at TIMESTAMP);
CREATE UNIQUE INDEX athena_clients_by_name ON athena_clients (client_name);
CREATE TABLE client_configs (
	client_name TEXT PRIMARY KEY,
	config TEXT NOT NULL DEFAULT '{}',
	created_at TIMESTAMP NOT NULL,
	updated_at TIMESTAMP NOT NULL);
CREATE TABLE api_keys (
	id INTEGER PRIMARY KEY AUTOINCREMENT,
	api_keys_id TEXT NOT NULL UNIQUE,
	public_id TEXT NOT NULL DEFAULT '',
	name TEXT NOT NULL DEFAULT '',
	description TEXT,
	client_name TEXT,
	key_salt TEXT NOT NULL DEFAULT '',
	key_hash TEXT NOT NULL DEFAULT '',
	expires_at TIMESTAMP,
	is_active BOOLEAN NOT NULL DEFAULT true,
	last_used_at TIMESTAMP,
	created_at TIMESTAMP NOT NULL,
	updated_at TIMESTAMP NOT NULL,
	deleted_at TIMESTAMP);
CREATE UNIQUE INDEX api_keys_by_public_id ON api_keys (public_id);
CREATE TABLE api_key_rights (
	id INTEGER PRIMARY KEY AUTOINCREMENT,
	api_key_rights_id TEXT NOT NULL UNIQUE,
	name TEXT NOT NULL DEFAULT '',
	description TEXT,
	created_at TIMESTAMP NOT NULL,
	updated_at TIMESTAMP NOT NULL);
CREATE UNIQUE INDEX api_key_rights_by_name ON api_key_rights (name);
CREATE TABLE api_key_right_grants (
	api_key_id INTEGER NOT NULL REFERENCES api_keys ON DELETE CASCADE,
	right_id INTEGER NOT NULL REFERENCES api_key_rights ON DELETE CASCADE,
	created_at TIMESTAMP NOT NULL,
	PRIMARY KEY (api_key_id, right_id));
CREATE INDEX api_key_right_grants_by_right ON api_key_right_grants (right_id);
CREATE TABLE api_key_config (
	id INTEGER PRIMARY KEY,
	enforce_api_keys BOOLEAN NOT NULL DEFAULT false,
	updated_at TIMESTAMP NOT NULL);
CREATE TABLE api_key_client_config (
	client_name TEXT PRIMARY KEY,
	enforce_api_keys BOOLEAN NOT NULL DEFAULT false,
	created_at TIMESTAMP NOT NULL,
	updated_at TIMESTAMP NOT NULL);
CREATE TABLE api_key_auth_log (
	id INTEGER PRIMARY KEY AUTOINCREMENT,
	created_at TIMESTAMP NOT NULL,
	request_id TEXT,
	api_key_id TEXT,
	public_id TEXT,
	client_name TEXT,
	method TEXT,
	path TEXT,
	remote_addr TEXT,
	presented_hash TEXT,
	required_right TEXT,
	granted_rights TEXT,
	succeeded BOOLEAN NOT NULL DEFAULT false,
	failure_reason TEXT,
	attempts INTEGER NOT NULL DEFAULT 1);
CREATE INDEX api_key_auth_log_by_time ON api_key_auth_log (created_at);
CREATE TABLE gateway_operation_log (
	id INTEGER PRIMARY KEY AUTOINCREMENT,
	created_at TIMESTAMP NOT NULL,
	request_id TEXT,
	client_name TEXT,
	table_name TEXT,
	operation TEXT,
	door TEXT,
	method TEXT,
	path TEXT,
	status_code INTEGER,
	duration_ms INTEGER,
	operation_time_ms REAL,
	row_count INTEGER,
	bytes INTEGER,
	cached BOOLEAN NOT NULL DEFAULT false,
	cache_key TEXT,
	error BOOLEAN,
	message TEXT,
	api_key_id TEXT,
	user_id TEXT,
	organization_id TEXT,
	details TEXT);
CREATE INDEX gateway_operation_log_older ON gateway_operation_log (id) WHERE door IS NULL;
CREATE INDEX gateway_operation_log_by_time ON gateway_operation_log (created_at);
CREATE INDEX gateway_operation_log_by_table ON gateway_operation_log (client_name, table_name, created_at);
CREATE TABLE client_statistics (
	client_name TEXT PRIMARY KEY,
	total_requests INTEGER NOT NULL DEFAULT 0,
	successful_requests INTEGER NOT NULL DEFAULT 0,
	failed_requests INTEGER NOT NULL DEFAULT 0,
	total_cached_requests INTEGER NOT NULL DEFAULT 0,
	total_operations INTEGER NOT NULL DEFAULT 0,
	last_request_at TIMESTAMP,
	last_operation_at TIMESTAMP,
	updated_at TIMESTAMP NOT NULL);
CREATE TABLE client_table_statistics (
	client_name TEXT NOT NULL,
	table_name TEXT NOT NULL,
	operation TEXT NOT NULL,
	total_operations INTEGER NOT NULL DEFAULT 0,
	error_operations INTEGER NOT NULL DEFAULT 0,
	last_operation_at TIMESTAMP,
	updated_at TIMESTAMP NOT NULL,
	PRIMARY KEY (client_name, table_name, operation));
CREATE TABLE admission_events (
	id INTEGER PRIMARY KEY AUTOINCREMENT,
	created_at TIMESTAMP NOT NULL,
	event_id TEXT,
	method TEXT,
	route TEXT,
	client_name TEXT,
	request_bytes INTEGER,
	defer_requested BOOLEAN NOT NULL DEFAULT false,
	is_query_route BOOLEAN NOT NULL DEFAULT false,
	decision TEXT,
	reason TEXT,
	deferred_request_id TEXT,
	retry_after_seconds INTEGER,
	window_seconds INTEGER,
	global_limit_per_window INTEGER,
	per_client_limit_per_window INTEGER,
	meta TEXT);
CREATE INDEX admission_events_by_time ON admission_events (created_at);
CREATE TABLE public_routes (
	id TEXT PRIMARY KEY,
	route_key TEXT NOT NULL DEFAULT '',
	client_name TEXT NOT NULL DEFAULT '',
	table_name TEXT,
	allowed_ops TEXT NOT NULL DEFAULT '[]',
	columns TEXT,
	filter TEXT,
	query TEXT,
	rate_limit TEXT,
	require_key BOOLEAN,
	description TEXT,
	active BOOLEAN NOT NULL DEFAULT true,
	metadata TEXT NOT NULL DEFAULT '{}',
	created_at TIMESTAMP NOT NULL,
	updated_at TIMESTAMP NOT NULL,
	deleted_at TIMESTAMP);
CREATE UNIQUE INDEX public_routes_by_key ON public_routes (route_key) WHERE deleted_at IS NULL;
CREATE TABLE api_registry (
	id TEXT PRIMARY KEY,
	name TEXT NOT NULL DEFAULT '',
	description TEXT,
	url TEXT,
	version TEXT,
	metadata TEXT NOT NULL DEFAULT '{}',
	created_at TIMESTAMP NOT NULL,
	updated_at TIMESTAMP NOT NULL,
	deleted_at TIMESTAMP);
CREATE TABLE admin_audit_log (
	id INTEGER PRIMARY KEY AUTOINCREMENT,
	created_at TIMESTAMP NOT NULL,
	actor TEXT,
	action TEXT,
	target TEXT,
	trace_id TEXT,
	before TEXT,
	after TEXT);
CREATE INDEX admin_audit_log_by_time ON admin_audit_log (created_at);
