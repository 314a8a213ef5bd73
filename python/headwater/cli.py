"""The `headwater` command. Each command reads the configuration and calls one function."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from headwater import __version__, clock, config, limits
from headwater.errors import ConfigError, HeadwaterError

app = typer.Typer(
    name="headwater",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="A tracking core for partner programs.",
)
key_app = typer.Typer(no_args_is_help=True, help="API keys.")
app.add_typer(key_app, name="key")

Data = Annotated[Path | None, typer.Option("--data", help="Folder of everything kept.")]
Port = Annotated[int | None, typer.Option(help="Public port.")]
ConsolePort = Annotated[int | None, typer.Option(help="Port of the console listener.")]
Host = Annotated[str | None, typer.Option(help="Address the public listener binds.")]
Edges = Annotated[int | None, typer.Option(help="Edge processes sharing the public port.")]
Unsafe = Annotated[
    bool | None,
    typer.Option(
        "--allow-unsafe-redis",
        help="Start on a Redis server that would lose events: for a test bench only.",
    ),
]


def _load(**options: Any) -> config.Config:
    try:
        return config.load(options)
    except ConfigError as error:
        _refuse(error)


def _refuse(error: ConfigError) -> NoReturn:
    """Say every fault of what was asked."""
    for fault in error.faults:
        typer.echo(f"headwater: {fault}", err=True)
    raise typer.Exit(2)


def _fail(error: Exception) -> NoReturn:
    typer.echo(f"headwater: {error}", err=True)
    raise typer.Exit(1)


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(f"headwater {__version__}")
        raise typer.Exit


@app.command()
def up(
    data: Data = None,
    port: Port = None,
    console_port: ConsolePort = None,
    host: Host = None,
    edges: Edges = None,
    allow_unsafe_redis: Unsafe = None,
) -> None:
    """Run the whole system on the embedded defaults."""
    from headwater.ops import logs
    from headwater.ops.supervisor import Supervisor

    settings = _load(
        data=data,
        port=port,
        console_port=console_port,
        host=host,
        edges=edges,
        allow_unsafe_redis=allow_unsafe_redis,
    )
    logs.start("supervisor", settings.log_level)
    try:
        code = Supervisor(settings).run()
    except HeadwaterError as error:
        _fail(error)
    raise typer.Exit(code)


def _run_until_signal(main: Coroutine[Any, Any, None]) -> None:
    """Run a role on uvloop; SIGTERM and SIGINT cancel it, and it drains."""
    import uvloop

    async def body() -> None:
        task = asyncio.create_task(main)  # type: ignore[arg-type, unused-ignore]
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, task.cancel)
        try:
            await task
        except asyncio.CancelledError:
            if not task.cancelled():
                raise

    uvloop.run(body())


@app.command()
def edge(data: Data = None, port: Port = None, host: Host = None, edges: Edges = None) -> None:
    """Run one edge process: redirects, pixel, events API."""
    from headwater.edge.server import run_edge
    from headwater.ops import logs

    settings = _load(data=data, port=port, host=host, edges=edges)
    logs.start("edge", settings.log_level)
    _run_role(lambda: run_edge(settings, _nothing, _console_is_ready(settings)))


@app.command()
def console(data: Data = None, console_port: ConsolePort = None) -> None:
    """Run the console listener: management API, metrics."""
    from headwater.console.app import run_console
    from headwater.ops import logs

    settings = _load(data=data, console_port=console_port)
    logs.start("console", settings.log_level)
    ready = settings.data / "run" / "console.ready"
    ready.parent.mkdir(parents=True, exist_ok=True)
    _run_role(lambda: run_console(settings, ready.touch))


@app.command()
def courier(data: Data = None) -> None:
    """Run the courier: partner pixels to the partners' servers."""
    from headwater.courier.service import run_courier
    from headwater.ops import logs

    settings = _load(data=data)
    logs.start("courier", settings.log_level)
    _run_role(lambda: run_courier(settings))


def _run_role(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    try:
        _run_until_signal(main())
    except HeadwaterError as error:
        _fail(error)


def _nothing() -> None:
    """The edge has nothing to tell when it listens: /readyz says it."""


def _console_is_ready(settings: config.Config) -> Callable[[], bool]:
    """Under `up` an edge is first ready when the console of the same folder listens and the
    matcher has the ledger; it does not wait long for the matcher, since clicks are safe without.
    """
    from headwater.edge.health import LedgerWatch

    if not (settings.data / "up.lock").exists():
        return lambda: True
    console_ready = settings.data / "run" / "console.ready"
    ledger = LedgerWatch(settings.data / "run")
    patient_until_s = clock.monotonic_s() + limits.MATCHER_START_MS / 1000
    state = {"ready": False}

    def gate() -> bool:
        if not state["ready"]:
            matched = ledger.ok or clock.monotonic_s() > patient_until_s
            state["ready"] = matched and console_ready.exists()
        return state["ready"]

    return gate


@app.command()
def matcher(data: Data = None) -> None:
    """Run the matcher: the owner of all partitions."""
    from headwater.matcher.service import run_matcher
    from headwater.ops import logs

    settings = _load(data=data)
    logs.start("matcher", settings.log_level)
    raise typer.Exit(run_matcher(settings))


@app.command()
def demo(
    clicks: Annotated[int, typer.Option(help="Clicks among the events.")] = 200_000,
    rate: Annotated[int, typer.Option(help="Events a second at most; 0: no limit.")] = 0,
    seed: Annotated[int, typer.Option(help="Seed of the traffic.")] = 1,
    stay: Annotated[bool, typer.Option(help="Keep the system running afterwards.")] = False,
) -> None:
    """Start a private system, drive bursty traffic through it, and prove what came of it."""
    from headwater.ops.demo import run_demo

    raise typer.Exit(run_demo(clicks=clicks, rate=rate, seed=seed, stay=stay))


@app.command()
def replay(
    file: Annotated[Path, typer.Argument(help="A web server's access log.")],
    program: Annotated[str, typer.Option(help="Code of the program the clicks go to.")],
    format_: Annotated[str, typer.Option("--format", help="combined")] = "combined",
    url: Annotated[str | None, typer.Option(help="Address of the edge.")] = None,
    keep_time: Annotated[bool, typer.Option(help="Send each line's own time.")] = False,
    data: Data = None,
    port: Port = None,
    console_port: ConsolePort = None,
) -> None:
    """Send a web server's access log as clicks, in order."""
    from headwater.ops.replay import run_replay

    settings = _load(data=data, port=port, console_port=console_port)
    if format_ != "combined":
        typer.echo("headwater: --format: one of combined", err=True)
        raise typer.Exit(2)
    try:
        code = run_replay(settings, file, program=program, url=url, keep_time=keep_time)
    except HeadwaterError as error:
        _fail(error)
    raise typer.Exit(code)


@app.command()
def verify(data: Data = None) -> None:
    """Rebuild every engine from the archive alone and compare with ledger and snapshots."""
    from headwater.ops.verify import run_verify

    settings = _load(data=data)
    try:
        raise typer.Exit(run_verify(settings))
    except HeadwaterError as error:
        _fail(error)


@app.command()
def rewrite(
    now: Annotated[bool, typer.Option("--now", help="Do not wait until they are old.")] = False,
    data: Data = None,
) -> None:
    """Carry erasures into archive and ledger: pseudonyms take the place of what was erased."""
    from headwater.ops import logs
    from headwater.ops.rewrite import run_rewrite

    settings = _load(data=data)
    logs.start("rewrite", settings.log_level)
    try:
        done = run_rewrite(settings, now=now)
    except HeadwaterError as error:
        _fail(error)
    typer.echo(f"{done.erasures} erasures carried into archive and ledger, {done.waiting} wait")


@app.command()
def simulate(
    program: Annotated[str, typer.Option(help="Code of the program.")],
    since: Annotated[
        str,
        typer.Option(metavar="T", help="Conversions accepted since: RFC 3339, or 30d, 12h ago."),
    ],
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A changed rule; may be given again."),
    ] = None,
    more: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Further changed rules.")
    ] = None,
    terms: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Terms to try, as POST .../terms takes them."),
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="T", help="... and before.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    csv: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write what moved, a row a partner.")
    ] = None,
    data: Data = None,
) -> None:
    """Replay the archive under changed rules: who would gain or lose. Changes nothing."""
    from headwater.ops.simulate import run_simulate

    settings = _load(data=data)
    changes = [*(set_ or ()), *(more or ())]
    try:
        code = run_simulate(
            settings,
            program=program,
            since=since,
            until=until,
            changes=changes,
            terms=terms,
            as_json=as_json,
            csv=csv,
        )
    except ConfigError as error:
        _refuse(error)
    except HeadwaterError as error:
        _fail(error)
    raise typer.Exit(code)


@app.command()
def snippet(
    program: Annotated[str, typer.Option(help="Code of the program.")],
    kind: Annotated[str, typer.Option(help="tag, pixel, shopify or shopify-theme")] = "tag",
    data: Data = None,
    port: Port = None,
    console_port: ConsolePort = None,
    host: Host = None,
) -> None:
    """Print what a brand pastes into its pages."""
    from headwater.ops.snippet import KINDS, run_snippet

    settings = _load(data=data, port=port, console_port=console_port, host=host)
    if kind not in KINDS:
        typer.echo(f"headwater: --kind: one of {', '.join(KINDS)}", err=True)
        raise typer.Exit(2)
    try:
        typer.echo(run_snippet(settings, program=program, kind=kind), nl=False)
    except HeadwaterError as error:
        _fail(error)


@app.command()
def evaluate(
    file: Annotated[Path, typer.Argument(help="Labelled data.")],
    format_: Annotated[str, typer.Option("--format", help="user-agents, combined or talkingdata")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    lists_before: Annotated[
        str | None,
        typer.Option(metavar="DATE", help="Only bots that were listed before this day."),
    ] = None,
) -> None:
    """Run the scoring engine over labelled data: how well it tells them apart."""
    from headwater.ops.evaluate import run_evaluate

    try:
        code = run_evaluate(file, layout=format_, as_json=as_json, lists_before=lists_before)
    except ConfigError as error:
        _refuse(error)
    except HeadwaterError as error:
        _fail(error)
    raise typer.Exit(code)


@app.command()
def doctor(data: Data = None, port: Port = None, console_port: ConsolePort = None) -> None:
    """Check Redis, ledger, clock, ports and sizing; say what is wrong and what mends it."""
    from headwater.ops.doctor import run_doctor

    raise typer.Exit(run_doctor(_load(data=data, port=port, console_port=console_port)))


@app.command()
def settle(
    until: Annotated[
        str | None, typer.Option(metavar="T", help="What is due by then, RFC 3339; default: now.")
    ] = None,
    data: Data = None,
) -> None:
    """Lock what is due."""
    from headwater.ops.settle import run_settle

    try:
        typer.echo(f"locked {run_settle(_load(data=data), until)}")
    except ConfigError as error:
        _refuse(error)
    except HeadwaterError as error:
        _fail(error)


@app.command("check-domain")
def check_domain(
    domain: Annotated[str, typer.Argument(help="The tracking domain.")],
    site: Annotated[
        str | None, typer.Option(help="Host of the site visitors end on; default: its parent.")
    ] = None,
    data: Data = None,
    console_port: ConsolePort = None,
) -> None:
    """Check a tracking domain: DNS, TLS, its proxy, and whether Safari keeps its cookie."""
    from headwater.ops.check_domain import run_check_domain

    raise typer.Exit(run_check_domain(_load(data=data, console_port=console_port), domain, site))


@app.command("check-page")
def check_page(
    url: Annotated[str, typer.Argument(help="A page of the shop; hw_test=1 marks its reports.")],
    program: Annotated[str | None, typer.Option(help="Code the page has to report to.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Open a page in Chromium: which calls it makes, and what stands in their way."""
    from headwater.ops.check_page import run_check_page

    try:
        raise typer.Exit(run_check_page(url, program, as_json=as_json))
    except HeadwaterError as error:
        _fail(error)


@key_app.command("create")
def key_create(
    scope: Annotated[list[str], typer.Option(help="Scope of the key; may be given again.")],
    brand: Annotated[str | None, typer.Option(help="Id of the brand the key is for.")] = None,
    partner: Annotated[str | None, typer.Option(help="Id of the partner it is for.")] = None,
    data: Data = None,
    console_port: ConsolePort = None,
) -> None:
    """Print a new API key, once; only its SHA-256 is kept."""
    from headwater.ops.client import create_key

    settings = _load(data=data, console_port=console_port)
    try:
        typer.echo(create_key(settings, scopes=scope, brand=brand, partner=partner))
    except HeadwaterError as error:
        _fail(error)


@app.command()
def reasons() -> None:
    """Print every reason code, and every signal of fraud scoring, with its meaning."""
    from headwater.model.reasons import REASONS
    from headwater.model.signals import signals

    table = signals().values()
    width = max(map(len, [*REASONS, *(line.code for line in table)]))
    for code, reason in REASONS.items():
        typer.echo(f"{code:<{width}}  {reason.status or '-':>3}  {reason.meaning}")
    typer.echo("\nSignals of fraud scoring, as they are until rules say otherwise:\n")
    for line in table:
        typer.echo(f"{line.code:<{width}}  {line.family}: {line.effect}. {line.meaning}")


def main() -> None:
    """Entry point of the `headwater` script."""
    sys.exit(app())
