BEGIN TRANSACTION;
CREATE TABLE actor_events (
	path VARCHAR(512) NOT NULL,
	revision BIGINT NOT NULL,
	schema_version INTEGER NOT NULL,
	data TEXT NOT NULL,
	PRIMARY KEY (path, revision)
);
CREATE TABLE actor_reminders (
	path VARCHAR(512) NOT NULL,
	name VARCHAR(255) NOT NULL,
	due_at FLOAT NOT NULL,
	every FLOAT,
	PRIMARY KEY (path, name)
);
CREATE TABLE actor_states (
	path VARCHAR(512) NOT NULL,
	revision INTEGER NOT NULL,
	schema_version INTEGER NOT NULL,
	data TEXT NOT NULL,
	PRIMARY KEY (path)
);
INSERT INTO "actor_states" VALUES('programs/report/self.facts',2,1,'{"version":2}');
INSERT INTO "actor_states" VALUES('programs/triage/self',1,3,'{"label":"größer"}');
CREATE TABLE ledger_accounts (
	name VARCHAR(255) NOT NULL,
	nano_limit BIGINT,
	token_limit BIGINT,
	nano_spent BIGINT DEFAULT '0' NOT NULL,
	tokens_spent BIGINT DEFAULT '0' NOT NULL,
	nano_uncertain BIGINT DEFAULT '0' NOT NULL,
	tokens_uncertain BIGINT DEFAULT '0' NOT NULL,
	nano_reserved BIGINT DEFAULT '0' NOT NULL,
	tokens_reserved BIGINT DEFAULT '0' NOT NULL,
	reservations BIGINT DEFAULT '0' NOT NULL,
	PRIMARY KEY (name)
);
CREATE TABLE ledger_holders (
	id VARCHAR(32) NOT NULL,
	expires_at FLOAT NOT NULL,
	PRIMARY KEY (id)
);
CREATE TABLE ledger_reservations (
	holder VARCHAR(32) NOT NULL,
	number BIGINT NOT NULL,
	accounts TEXT NOT NULL,
	nano_dollars BIGINT NOT NULL,
	tokens BIGINT NOT NULL,
	PRIMARY KEY (holder, number)
);
CREATE TABLE lm_replies (
	"key" VARCHAR(64) NOT NULL,
	data TEXT NOT NULL,
	made_at FLOAT NOT NULL,
	kept_until FLOAT NOT NULL,
	PRIMARY KEY ("key")
);
CREATE TABLE runs (
	id VARCHAR(32) NOT NULL,
	program VARCHAR(255) NOT NULL,
	"key" VARCHAR(255) NOT NULL,
	fingerprint VARCHAR(64) NOT NULL,
	inputs TEXT NOT NULL,
	status VARCHAR(8) NOT NULL,
	outputs TEXT,
	error_code VARCHAR(64),
	error_message TEXT,
	input_tokens INTEGER NOT NULL,
	output_tokens INTEGER NOT NULL,
	lm_calls INTEGER NOT NULL,
	seconds FLOAT,
	accepted_at FLOAT NOT NULL,
	finished_at FLOAT,
	PRIMARY KEY (id)
);
INSERT INTO "runs" VALUES('6bd3097d3704c8478005eb7f9a4c85b4','report','first','056c60512c61e06ce578b45d509d8cd47603ea530cddb41e04ddefe5bb69e0ee','{"document":"Übergröße 🐘 \"quoted\"\nline"}','ok','{"report":"done"}',NULL,NULL,249,69,3,14.125,1790000000.25,1790000000.5);
INSERT INTO "runs" VALUES('5215c744b6a410850e24b04baa989007','report','second','056c60512c61e06ce578b45d509d8cd47603ea530cddb41e04ddefe5bb69e0ee','{"document":""}','failed',NULL,'config_invalid','no model under that name',7,0,2,0.5,1790000000.75,1790000001.0);
INSERT INTO "runs" VALUES('ba1573330b9b95236f710c281dd9e316','report','third','056c60512c61e06ce578b45d509d8cd47603ea530cddb41e04ddefe5bb69e0ee','{"document":"three"}','accepted',NULL,NULL,NULL,0,0,0,NULL,1790000001.25,NULL);
INSERT INTO "runs" VALUES('e2918560d565abf1f4c4265fc50b6bb1','triage','first','cd65ea2c2ad99e94a85b1b6df72efef9cb2ed0ae933a60c32ce16317f7d7d6aa','{"ticket":3,"big":2.5}','accepted',NULL,NULL,NULL,0,0,0,NULL,1790000001.5,NULL);
CREATE TABLE steps (
	run_id VARCHAR(32) NOT NULL,
	predictor VARCHAR(255) NOT NULL,
	input_hash VARCHAR(64) NOT NULL,
	occurrence INTEGER NOT NULL,
	outputs TEXT NOT NULL,
	parameters_version INTEGER NOT NULL,
	input_tokens INTEGER NOT NULL,
	output_tokens INTEGER NOT NULL,
	seconds FLOAT NOT NULL,
	PRIMARY KEY (run_id, predictor, input_hash, occurrence),
	FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE
);
INSERT INTO "steps" VALUES('6bd3097d3704c8478005eb7f9a4c85b4','self.facts','0eb5b8d6f81bc677da8a08567cc4fa9a06a57e9ec8da85ed73a7f62727996002',0,'{"facts":["größer","a\tb"],"weight":0.00001}',1,120,30,0.25);
INSERT INTO "steps" VALUES('6bd3097d3704c8478005eb7f9a4c85b4','self.facts','0eb5b8d6f81bc677da8a08567cc4fa9a06a57e9ec8da85ed73a7f62727996002',1,'{"facts":[]}',1,120,31,1.5);
INSERT INTO "steps" VALUES('6bd3097d3704c8478005eb7f9a4c85b4','self.write[''x''].predict','a8950f05d3443e7921e7ec6fbe06c8febe40966a5db58b15f767a995d561290b',0,'{"report":"done   \u0007"}',2,9,8,12.0);
INSERT INTO "steps" VALUES('5215c744b6a410850e24b04baa989007','self.facts','fd2079a3096d5abb9bdf54cc5c80262e7b58bac10d524846455474beff760be9',0,'{"facts":null,"n":12345678901234567890}',0,0,0,0.0);
INSERT INTO "steps" VALUES('e2918560d565abf1f4c4265fc50b6bb1','self','65b1c6ea3a2d5c6e03cfd72e22ec51b938dee9a50be5384388f8f1a8cbd9ffdb',0,'{"label":"refund","sure":true}',4,50,5,0.125);
CREATE TABLE store_info (
	only_row INTEGER NOT NULL,
	schema_version INTEGER NOT NULL,
	PRIMARY KEY (only_row)
);
INSERT INTO "store_info" VALUES(1,3);
CREATE INDEX runs_by_program ON runs (program, status);
CREATE INDEX actor_reminders_by_time ON actor_reminders (due_at);
CREATE INDEX ledger_holders_by_time ON ledger_holders (expires_at);
CREATE INDEX lm_replies_by_end ON lm_replies (kept_until);
COMMIT;
