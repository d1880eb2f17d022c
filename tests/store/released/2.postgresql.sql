CREATE TABLE public.actor_events (
    path character varying(512) NOT NULL,
    revision bigint NOT NULL,
    schema_version integer NOT NULL,
    data text NOT NULL
);
CREATE TABLE public.actor_reminders (
    path character varying(512) NOT NULL,
    name character varying(255) NOT NULL,
    due_at double precision NOT NULL,
    every double precision
);
CREATE TABLE public.actor_states (
    path character varying(512) NOT NULL,
    revision bigint NOT NULL,
    schema_version integer NOT NULL,
    data text NOT NULL
);
CREATE TABLE public.runs (
    id character varying(32) NOT NULL,
    program character varying(255) NOT NULL,
    key character varying(255) NOT NULL,
    fingerprint character varying(64) NOT NULL,
    inputs text NOT NULL,
    status character varying(8) NOT NULL,
    outputs text,
    error_code character varying(64),
    error_message text,
    input_tokens integer NOT NULL,
    output_tokens integer NOT NULL,
    lm_calls integer NOT NULL,
    seconds double precision,
    accepted_at double precision NOT NULL,
    finished_at double precision
);
CREATE TABLE public.steps (
    run_id character varying(32) NOT NULL,
    predictor character varying(255) NOT NULL,
    input_hash character varying(64) NOT NULL,
    occurrence integer NOT NULL,
    outputs text NOT NULL,
    parameters_version integer NOT NULL,
    input_tokens integer NOT NULL,
    output_tokens integer NOT NULL,
    seconds double precision NOT NULL
);
CREATE TABLE public.store_info (
    only_row integer NOT NULL,
    schema_version integer NOT NULL
);
CREATE SEQUENCE public.store_info_only_row_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.store_info_only_row_seq OWNED BY public.store_info.only_row;
ALTER TABLE ONLY public.store_info ALTER COLUMN only_row SET DEFAULT nextval('public.store_info_only_row_seq'::regclass);
INSERT INTO public.actor_events VALUES ('programs/triage/self', 2, 3, '{"event":1}');
INSERT INTO public.actor_reminders VALUES ('programs/triage/self', 'sweep', 1790003600, 60);
INSERT INTO public.actor_states VALUES ('programs/report/self.facts', 2, 1, '{"version":2}');
INSERT INTO public.actor_states VALUES ('programs/triage/self', 2, 3, '{"label":"größer"}');
INSERT INTO public.runs VALUES ('6bd3097d3704c8478005eb7f9a4c85b4', 'report', 'first', '056c60512c61e06ce578b45d509d8cd47603ea530cddb41e04ddefe5bb69e0ee', '{"document":"Übergröße 🐘 \"quoted\"\nline"}', 'ok', '{"report":"done"}', NULL, NULL, 249, 69, 3, 14.125, 1790000000.25, 1790000000.5);
INSERT INTO public.runs VALUES ('5215c744b6a410850e24b04baa989007', 'report', 'second', '056c60512c61e06ce578b45d509d8cd47603ea530cddb41e04ddefe5bb69e0ee', '{"document":""}', 'failed', NULL, 'config_invalid', 'no model under that name', 7, 0, 2, 0.5, 1790000000.75, 1790000001);
INSERT INTO public.runs VALUES ('ba1573330b9b95236f710c281dd9e316', 'report', 'third', '056c60512c61e06ce578b45d509d8cd47603ea530cddb41e04ddefe5bb69e0ee', '{"document":"three"}', 'accepted', NULL, NULL, NULL, 0, 0, 0, NULL, 1790000001.25, NULL);
INSERT INTO public.runs VALUES ('e2918560d565abf1f4c4265fc50b6bb1', 'triage', 'first', 'cd65ea2c2ad99e94a85b1b6df72efef9cb2ed0ae933a60c32ce16317f7d7d6aa', '{"ticket":3,"big":2.5}', 'accepted', NULL, NULL, NULL, 0, 0, 0, NULL, 1790000001.5, NULL);
INSERT INTO public.steps VALUES ('6bd3097d3704c8478005eb7f9a4c85b4', 'self.facts', '0eb5b8d6f81bc677da8a08567cc4fa9a06a57e9ec8da85ed73a7f62727996002', 0, '{"facts":["größer","a\tb"],"weight":0.00001}', 1, 120, 30, 0.25);
INSERT INTO public.steps VALUES ('6bd3097d3704c8478005eb7f9a4c85b4', 'self.facts', '0eb5b8d6f81bc677da8a08567cc4fa9a06a57e9ec8da85ed73a7f62727996002', 1, '{"facts":[]}', 1, 120, 31, 1.5);
INSERT INTO public.steps VALUES ('6bd3097d3704c8478005eb7f9a4c85b4', 'self.write[''x''].predict', 'a8950f05d3443e7921e7ec6fbe06c8febe40966a5db58b15f767a995d561290b', 0, '{"report":"done   \u0007"}', 2, 9, 8, 12);
INSERT INTO public.steps VALUES ('5215c744b6a410850e24b04baa989007', 'self.facts', 'fd2079a3096d5abb9bdf54cc5c80262e7b58bac10d524846455474beff760be9', 0, '{"facts":null,"n":12345678901234567890}', 0, 0, 0, 0);
INSERT INTO public.steps VALUES ('e2918560d565abf1f4c4265fc50b6bb1', 'self', '65b1c6ea3a2d5c6e03cfd72e22ec51b938dee9a50be5384388f8f1a8cbd9ffdb', 0, '{"label":"refund","sure":true}', 4, 50, 5, 0.125);
INSERT INTO public.store_info VALUES (1, 2);
ALTER TABLE ONLY public.actor_events
    ADD CONSTRAINT actor_events_pkey PRIMARY KEY (path, revision);
ALTER TABLE ONLY public.actor_reminders
    ADD CONSTRAINT actor_reminders_pkey PRIMARY KEY (path, name);
ALTER TABLE ONLY public.actor_states
    ADD CONSTRAINT actor_states_pkey PRIMARY KEY (path);
ALTER TABLE ONLY public.runs
    ADD CONSTRAINT runs_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.steps
    ADD CONSTRAINT steps_pkey PRIMARY KEY (run_id, predictor, input_hash, occurrence);
ALTER TABLE ONLY public.store_info
    ADD CONSTRAINT store_info_pkey PRIMARY KEY (only_row);
CREATE INDEX actor_reminders_by_time ON public.actor_reminders USING btree (due_at);
CREATE INDEX runs_by_program ON public.runs USING btree (program, status);
ALTER TABLE ONLY public.steps
    ADD CONSTRAINT steps_run_id_fkey FOREIGN KEY (run_id) REFERENCES public.runs(id) ON DELETE CASCADE;
