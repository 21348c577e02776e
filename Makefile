# A short way to the common jobs; the build itself is Meson's (meson.build).
#   make run    everything on this machine: server, sync of examples/shop, DNS, HTTP
#   make test   all tests
#   make test-migration   an Apache ensemble replaced by Quoll, server by server, and back
# Both install the Debian packages that they need.

BUILD ?= build
MANIFESTS ?= examples/shop
DATA ?= $(BUILD)/run-data
PYTEST = /usr/bin/python3 -m pytest -p no:cacheprovider -q

.PHONY: run test build unit sanitize tsan integration test-kube test-migration chaos bench sim fuzz lint format install clean deps

run:
	@scripts/deps run
	@$(MAKE) --no-print-directory build
	@exec $(BUILD)/quoll up --data $(DATA) --manifests $(MANIFESTS)

test:
	@scripts/test

deps:
	@scripts/deps build

build: deps
	@test -f $(BUILD)/build.ninja || meson setup $(BUILD) -Dtests=false >$(BUILD)-setup.log 2>&1 || { cat $(BUILD)-setup.log; exit 1; }
	@rm -f $(BUILD)-setup.log
	@ninja -C $(BUILD) --quiet

# Unit tests under AddressSanitizer and UndefinedBehaviorSanitizer.
sanitize:
	@scripts/deps test
	@test -f build-asan/build.ninja || meson setup build-asan -Db_sanitize=address,undefined -Db_lundef=false -Dtests=true
	@ninja -C build-asan && meson test -C build-asan --print-errorlogs

# The threaded parts under ThreadSanitizer.
tsan:
	@scripts/deps test
	@test -f build-tsan/build.ninja || meson setup build-tsan -Db_sanitize=thread -Db_lundef=false -Dtests=true
	@ninja -C build-tsan && meson test -C build-tsan --print-errorlogs

integration:
	@scripts/deps test
	@test -f $(BUILD)/build.ninja || meson setup $(BUILD) -Dtests=true
	@meson configure $(BUILD) -Dtests=true && ninja -C $(BUILD) && $(PYTEST) tests/integration tests/chaos

# The whole path with a real kube-apiserver; builds Debian's once (some minutes) into ~/.cache/quoll-kube.
test-kube: build
	@scripts/deps kube
	@$(PYTEST) -s tests/kube

# Servers killed and stopped at random under real clients, then everything is checked: CHAOS_SECONDS each with three and with five servers;
# then, in a network of their own (needs root), their networks are cut. CHAOS_KINDS="qqaaq aaq" instead: ensembles of these kinds, q ours, a Apache's,
# under the same kills and stops.
chaos: build
	@scripts/deps test
	@for k in $$CHAOS_KINDS; do QUOLL_BUILD=$(BUILD) tests/chaos/run.py --kinds $$k --seconds $${CHAOS_SECONDS:-600} || exit 1; done
	@if [ -z "$$CHAOS_KINDS" ]; then \
	for n in $${CHAOS_SERVERS:-3 5}; do QUOLL_BUILD=$(BUILD) tests/chaos/run.py --servers $$n --seconds $${CHAOS_SECONDS:-600} || exit 1; done; \
	for n in $${CHAOS_SERVERS:-3 5}; do QUOLL_BUILD=$(BUILD) tests/chaos/netns.py --servers $$n --seconds $${CHAOS_SECONDS:-600} || exit 1; done; fi

# Apache's ensemble replaced by Quoll server by server, and back, twice, under load; about a minute.
test-migration: build
	@scripts/deps test
	@tests/migration/migrate.py --build $(BUILD)

bench: build
	@bench/run
	@bench/dns
	@bench/ensemble

sim: build
	@$(BUILD)/quoll sim --seeds $${SIM_SEEDS:-1000} --servers 5

fuzz:
	@scripts/fuzz $${FUZZ_SECONDS:-60}

lint:
	@scripts/lint

format:
	@git ls-files '*.c' '*.h' | xargs clang-format -i

install: build
	@meson install -C $(BUILD)

clean:
	rm -rf build build-asan build-tsan build-fuzz
