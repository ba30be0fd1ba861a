# vsitlm: build, demonstrate, test and measure. Everything that is missing is installed by scripts/setup.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.PHONY: build wheel demo test test-all bench bench-python bench-decode bench-decoded bench-cogs bench-cube bench-load lint deny msrv fuzz sanitize soak test-docker test-qgis clean

PLUGIN := target/plugin/gdal_vsitlm.so
PYTHON := target/py/r144/bin/python

# The plugin's folder holds nothing else, so that it can be named in GDAL_DRIVER_PATH. A running process may have the
# old one mapped: hence the new one takes its name by a rename.
build:
	cargo build --release --locked
	mkdir -p $(dir $(PLUGIN))
	cp target/release/libvsitlm.so target/.gdal_vsitlm.so
	mv -f target/.gdal_vsitlm.so $(PLUGIN)

# The Python package, into target/wheels.
wheel:
	scripts/setup wheel
	scripts/wheel

# FILE=/path/to/a.jp2 takes your own file instead of a made one.
demo:
	scripts/setup demo
	$(MAKE) --no-print-directory build
	$(PYTHON) scripts/demo.py --plugin $(dir $(PLUGIN)) --vsitlm target/release/vsitlm $(if $(FILE),--file "$(FILE)")

# Rust's tests, tests/python with one GDAL, and python/tests with the wheel under one Python.
test:
	scripts/test

# The other GDALs, and the oldest Python.
test-all:
	scripts/test-all

# REPEAT=9 takes more repetitions; WRITE=docs/benchmarks.md also puts the table there.
bench:
	scripts/setup bench
	$(MAKE) --no-print-directory build
	$(PYTHON) scripts/bench.py $(if $(REPEAT),--repeat $(REPEAT)) $(if $(WRITE),--write $(WRITE))

# The Python package: small windows, many chips, one event loop, and its import.
bench-python:
	scripts/setup bench wheel
	$(MAKE) --no-print-directory build
	scripts/wheel
	$(PYTHON) scripts/bench_python.py $(if $(REPEAT),--repeat $(REPEAT)) $(if $(WRITE),--write $(WRITE))

# Decoded images against a COG and OpenJPEG.
bench-decoded:
	scripts/setup bench
	$(MAKE) --no-print-directory build
	$(PYTHON) scripts/bench_decoded.py $(if $(REPEAT),--repeat $(REPEAT)) $(if $(WRITE),--write $(WRITE))

# LIMIT=120 stops a way of reading after as many seconds.
bench-cube: cube-wheel
	target/py/cube/bin/python scripts/bench_cube.py $(if $(LIMIT),--limit $(LIMIT)) $(if $(WRITE),--write $(WRITE))

# COGs by the index, with async-geotiff among the peers.
bench-cogs: cube-wheel build
	scripts/setup bench-cogs
	target/py/cube/bin/python scripts/bench_cogs.py $(if $(REPEAT),--repeat $(REPEAT)) $(if $(WRITE),--write $(WRITE))

# Areas and points, with rasteret among the peers.
bench-load: cube-wheel
	scripts/setup bench-load
	target/py/cube/bin/python scripts/bench_load.py $(if $(LIMIT),--limit $(LIMIT)) $(if $(WRITE),--write $(WRITE))

# The wheel, in the environment that has zarr, and unpacked for others.
.PHONY: cube-wheel
cube-wheel:
	scripts/setup bench test-all
	scripts/wheel
	rm -rf target/wheels/site && python3 -m zipfile -e target/wheels/vsitlm-*.whl target/wheels/site
	target/py/uv/bin/uv --quiet --no-cache --offline pip install --python target/py/cube/bin/python --no-deps --reinstall \
		target/wheels/vsitlm-*.whl

# The decoder against OpenJPEG. DATA=/path/to/products measures real files, too.
bench-decode:
	scripts/setup bench-decode
	scripts/wheel
	$$(ls target/py/r152/bin/python 2>/dev/null || echo $(PYTHON)) scripts/bench_decode.py $(if $(REPEAT),--repeat $(REPEAT)) \
		$(if $(DATA),--data "$(DATA)") $(if $(WRITE),--write $(WRITE))

lint:
	scripts/setup lint
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS=-Dwarnings cargo doc --locked --no-deps --document-private-items
	scripts/lint-python

# Licences, sources, duplicates and advisories of what the plugin is built of.
deny:
	scripts/setup deny
	scripts/deny

# The Rust version that Cargo.toml states.
msrv:
	scripts/msrv

# SECONDS=600 fuzzes each target for as long; TARGETS="path tlm" only those.
fuzz:
	scripts/setup fuzz
	scripts/fuzz $(or $(SECONDS),60) $(TARGETS)

# SANITIZERS="address thread valgrind" takes some of the three.
sanitize:
	scripts/setup sanitize
	$(MAKE) --no-print-directory build
	scripts/sanitize $(SANITIZERS)

# SECONDS=600 keeps the load up for as long; WHAT=memory takes one of the two.
soak:
	scripts/setup bench
	$(MAKE) --no-print-directory build
	$(PYTHON) scripts/soak.py $(WHAT) --seconds $(or $(SECONDS),60)

test-docker:
	scripts/setup docker
	scripts/test-docker

# FILE=/path/to/a.jp2 takes your own file; FULL=1 the made one of 10980 px.
test-qgis:
	scripts/setup qgis
	$(MAKE) --no-print-directory build
	scripts/test-qgis $(if $(FULL),--full) $(if $(FILE),--file "$(FILE)")

clean:
	cargo clean
	rm -rf python/vsitlm/plugin
