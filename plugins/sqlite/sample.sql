-- A small fleet's logbook of the planets: real bodies, invented missions.
PRAGMA application_id = 1098150977;

CREATE TABLE planets (
	id INTEGER PRIMARY KEY,
	name TEXT NOT NULL UNIQUE,
	local_name TEXT,
	kind TEXT NOT NULL CHECK (kind IN ('rocky', 'gas giant', 'ice giant', 'dwarf')),
	radius_km REAL NOT NULL,
	mass_kg NUMERIC,
	orbit_days REAL,
	rings BOOLEAN NOT NULL DEFAULT 0,
	discovered DATE,
	atmosphere JSON
);

CREATE TABLE moons (
	id INTEGER PRIMARY KEY,
	planet_id INTEGER NOT NULL REFERENCES planets(id),
	name TEXT NOT NULL,
	radius_km REAL,
	discovered DATE,
	discoverer TEXT,
	ocean BOOLEAN
);
CREATE INDEX moons_planet ON moons(planet_id);

CREATE TABLE crew (
	id INTEGER PRIMARY KEY,
	name TEXT NOT NULL,
	role TEXT NOT NULL,
	born DATE,
	active BOOLEAN NOT NULL DEFAULT 1,
	skills JSON
);

CREATE TABLE missions (
	id INTEGER PRIMARY KEY,
	name TEXT NOT NULL UNIQUE,
	planet_id INTEGER REFERENCES planets(id),
	commander_id INTEGER REFERENCES crew(id),
	launched TIMESTAMP,
	landed TIMESTAMP,
	budget NUMERIC,
	crewed BOOLEAN NOT NULL DEFAULT 0,
	notes TEXT
);

CREATE TABLE samples (
	id INTEGER PRIMARY KEY,
	mission_id INTEGER NOT NULL REFERENCES missions(id),
	label TEXT NOT NULL,
	mass_g REAL,
	collected TIMESTAMP,
	analysis JSON,
	thumbnail BLOB
);

CREATE VIEW worlds AS
	SELECT name, 'planet' AS kind, radius_km FROM planets
	UNION ALL SELECT name, 'moon', radius_km FROM moons;

INSERT INTO planets VALUES
	(1, 'Mercury', NULL, 'rocky', 2439.7, 330110000000000000000000, 87.97, 0, NULL, NULL),
	(2, 'Venus', '金星', 'rocky', 6051.8, 4867500000000000000000000, 224.70, 0, NULL, '{"CO2": 96.5, "N2": 3.5}'),
	(3, 'Earth', 'Terra', 'rocky', 6371.0, 5972190000000000000000000, 365.26, 0, NULL, '{"N2": 78.1, "O2": 20.9, "Ar": 0.9}'),
	(4, 'Mars', 'Марс', 'rocky', 3389.5, 641690000000000000000000, 686.98, 0, NULL, '{"CO2": 95.3, "N2": 2.7, "Ar": 1.6}'),
	(5, 'Jupiter', NULL, 'gas giant', 69911, 1898130000000000000000000000, 4332.59, 1, NULL, '{"H2": 89.8, "He": 10.2}'),
	(6, 'Saturn', '土星', 'gas giant', 58232, 568319000000000000000000000, 10759.22, 1, NULL, '{"H2": 96.3, "He": 3.25}'),
	(7, 'Uranus', 'Οὐρανός', 'ice giant', 25362, 86810300000000000000000000, 30688.5, 1, '1781-03-13', '{"H2": 82.5, "He": 15.2, "CH4": 2.3}'),
	(8, 'Neptune', NULL, 'ice giant', 24622, 102410000000000000000000000, 60195, 1, '1846-09-23', '{"H2": 80, "He": 19, "CH4": 1.5}'),
	(9, 'Pluto', NULL, 'dwarf', 1188.3, 13030000000000000000000, 90560, 0, '1930-02-18', '{"N2": 99, "CH4": 0.5}'),
	(10, 'Ceres', NULL, 'dwarf', 469.7, 938390000000000000000, 1680, 0, '1801-01-01', NULL);

INSERT INTO moons VALUES
	(1, 3, 'Moon', 1737.4, NULL, NULL, 0),
	(2, 4, 'Phobos', 11.1, '1877-08-18', 'Asaph Hall', 0),
	(3, 4, 'Deimos', 6.2, '1877-08-12', 'Asaph Hall', 0),
	(4, 5, 'Io', 1821.6, '1610-01-08', 'Galileo Galilei', 0),
	(5, 5, 'Europa', 1560.8, '1610-01-08', 'Galileo Galilei', 1),
	(6, 5, 'Ganymede', 2634.1, '1610-01-07', 'Galileo Galilei', 1),
	(7, 5, 'Callisto', 2410.3, '1610-01-07', 'Galileo Galilei', NULL),
	(8, 6, 'Mimas', 198.2, '1789-09-17', 'William Herschel', NULL),
	(9, 6, 'Enceladus', 252.1, '1789-08-28', 'William Herschel', 1),
	(10, 6, 'Rhea', 763.8, '1672-12-23', 'Giovanni Cassini', 0),
	(11, 6, 'Titan', 2574.7, '1655-03-25', 'Christiaan Huygens', 1),
	(12, 6, 'Iapetus', 734.5, '1671-10-25', 'Giovanni Cassini', 0),
	(13, 7, 'Miranda', 235.8, '1948-02-16', 'Gerard Kuiper', NULL),
	(14, 7, 'Titania', 788.4, '1787-01-11', 'William Herschel', NULL),
	(15, 7, 'Oberon', 761.4, '1787-01-11', 'William Herschel', NULL),
	(16, 8, 'Triton', 1353.4, '1846-10-10', 'William Lassell', 1),
	(17, 8, 'Nereid', 170, '1949-05-01', 'Gerard Kuiper', 0),
	(18, 9, 'Charon', 606, '1978-06-22', 'James Christy', NULL);

INSERT INTO crew VALUES
	(1, 'Zoë Ångström', 'commander', '2041-05-17', 1, '["piloting", "geology"]'),
	(2, 'Ibrahim Haddad', 'commander', '2038-11-02', 1, '["piloting", "medicine"]'),
	(3, '李美玲', 'engineer', '2044-01-29', 1, '["robotics", "welding", "go"]'),
	(4, 'Piotr Wójcik', 'geologist', '2039-08-08', 0, '["drilling"]'),
	(5, 'Amara Okafor', 'biologist', '2046-03-12', 1, '["ice cores", "microscopy"]'),
	(6, 'Tomás O''Brien', 'pilot', NULL, 1, NULL),
	(7, 'Yuki "Moss" Tanaka', 'navigator', '2043-12-31', 1, '[]');

INSERT INTO missions VALUES
	(1, 'Red Lantern', 4, 1, '2068-04-02 06:30:00', '2068-11-19 14:05:12', 1250000000.00, 1, 'First landing in Valles Marineris.'),
	(2, 'Deep Well', 5, NULL, '2069-01-15 00:00:00', '2071-07-30 09:41:00', 890500000.50, 0, NULL),
	(3, 'Tiger Stripe', 6, NULL, '2070-09-09 12:00:00', '2074-02-11 23:59:59', 1410000000.00, 0, 'Flew through the plumes of Enceladus; 100% of the filters full.'),
	(4, 'Kraken', 6, 2, '2075-03-21 04:15:00', NULL, 3200000000.00, 1, 'Under way to Titan.'),
	(5, 'Quicksilver', 1, NULL, '2067-06-01 18:20:30', '2068-12-24 01:00:00', 410000000.00, 0, 'Polar ice.'),
	(6, 'Cold Letter', 9, NULL, NULL, NULL, NULL, 0, 'Planned.'),
	(7, 'White Spot', 10, 6, '2073-05-05 05:05:05', '2074-01-01 00:00:00', 275000000.75, 1, 'Bright salts in Occator.');

INSERT INTO samples VALUES
	(1, 1, 'RL-001', 512.4, '2068-11-20 10:00:00', '{"rock": "basalt", "iron": 18.2, "organic": false}', x'89504e470d0a'),
	(2, 1, 'RL-002', 88.0, '2068-11-22 16:45:00', '{"rock": "hematite", "iron": 69.1, "organic": false}', NULL),
	(3, 1, 'RL-003', 3.75, '2068-12-01 08:12:00', '{"rock": "clay", "water": 11.4, "organic": true}', NULL),
	(4, 2, 'DW-001', 0.002, '2071-08-02 00:00:30', '{"gas": {"H2": 89.9, "He": 10.1}}', NULL),
	(5, 3, 'TS-001', 0.35, '2074-02-12 03:00:00', '{"salt": true, "organic": true, "ph": 9.1}', x'00ff10'),
	(6, 3, 'TS-002', 0.41, '2074-02-12 03:00:09', '{"salt": true, "organic": null, "ph": 8.9}', NULL),
	(7, 5, 'QS-001', 12.5, '2068-12-25 12:34:56', '{"ice": {"H2O": 99.2}}', NULL),
	(8, 5, 'QS-002', NULL, NULL, NULL, NULL),
	(9, 7, 'WS-001', 40.1, '2074-01-03 07:30:00', '{"salt": "sodium carbonate", "purity": 0.87}', NULL),
	(10, 7, 'WS-002', 41.9, '2074-01-03 07:55:00', '["salt", "clay"]', NULL);
