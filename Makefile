SHELL := bash
.PHONY: help test slow benchmark lint docs figures tables constraints

help:  ## Say what there is.
	@sed -n 's/^\([a-z]*\):.*## /make \1\t/p' $(MAKEFILE_LIST)

test:  ## The fast tests.
	pytest -n 2 --dist loadfile

slow:  ## Real trainings of minutes.
	pytest -m slow

benchmark:  ## Measured ratios against alternatives.
	pytest -m benchmark

lint:  ## Style and types.
	ruff check . && ruff format --check . && mypy

docs:  ## The documentation, with the tutorials executed.
	DOCS_EXECUTE_NOTEBOOKS=true mkdocs build --strict --site-dir out/docs

# The first line of a drawing is its name for those who do not see it. Lines and letters take the colour of the page's text.
figures:  ## The drawings of the methods, from their descriptions in docs/figures (graphviz).
	for file in docs/figures/*.dot; do \
	    name=$$(sed -n '1s#^// ##p' $$file); \
	    dot -Tsvg -Gbgcolor=transparent $$file | sed -n '/^<svg/,$$p' | sed -e '/^<!--/d; /<title>/d' \
	        -e "s#^<svg#<svg class=\"drawing\" role=\"img\" aria-label=\"$$name\"#" \
	        -e 's/="black"/="currentColor"/g; s/<text /<text fill="currentColor" /' > $${file%.dot}.svg; \
	done

tables:  ## Every generated table of the README and of the documentation, from tests/records.
	art-plugins reproduce --size cpu --records tests/records --out out/tables/reproduce
	art-plugins report out/tables/reproduce tests/records --out out/tables --markdown tests/records/README.md \
	    --fill README.md --fill docs/results.md --fill docs/leaderboard.md

# torchvision goes with the torch of its own release. TensorFlow's package for Windows has no release that would fit.
constraints:  ## Choose the versions of constraints.txt anew; then let the tests run on them.
	uv pip compile setup.cfg --upgrade --extra all --universal --python-version 3.10 --no-annotate --no-emit-package pip \
	    --constraint <(printf 'torchvision==0.29.1\ntensorflow-cpu==2.18.1\n') \
	    --override <(echo "tensorflow-intel ; python_version < '3'") \
	    --custom-compile-command "make constraints" --output-file constraints.txt
