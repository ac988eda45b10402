"""Finding and loading plugins, one by one and guarded: a broken one is named and never takes a command down."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple

from flowbridge.backend import Backend, Definition, Target
from flowbridge.errors import FlowbridgeError, InvalidInput
from flowbridge.installed import Offer, offers

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from flowbridge.catalog import CatalogEntry
    from flowbridge.config import Config

BACKENDS = "flowbridge.backends"
HOOKS = "flowbridge.hooks"
COMMANDS = "flowbridge.commands"


class Plugin(NamedTuple):
    """One entry point. `problem` is empty where it is sound, or not yet loaded."""

    group: str
    name: str
    value: str
    distribution: str
    version: str
    problem: str = ""


def found(group: str) -> list[EntryPoint]:
    """The entry points of a group, by name; nothing of them is imported."""
    from importlib.metadata import entry_points  # noqa: PLC0415  it costs as much as a short command

    return sorted(entry_points(group=group), key=lambda point: point.name)


def describe(point: EntryPoint, problem: str = "") -> Plugin:
    """An entry point as data."""
    dist = point.dist
    name, version = (dist.name, dist.version) if dist else ("", "")
    return Plugin(point.group, point.name, point.value, name, version, problem)


def load_backend(type: str) -> type[Backend]:
    """The class of a backend type. Raises `InvalidInput` where there is none, or where it does not load."""
    point = backend_point(type)
    if point is None:
        known = ", ".join(point.name for point in found(BACKENDS)) or "none"
        raise InvalidInput(f"there is no backend type {type!r}; installed are: {known}")
    loaded, problem = _loaded_backend(point)
    if loaded is None:
        raise InvalidInput(f"backend type {type!r} ({point.value}) does not load: {problem}")
    return loaded


def _loaded_backend(point: Offer | EntryPoint) -> tuple[type[Backend] | None, str]:
    return _loaded(point, _wrong_backend)


def _wrong_backend(loaded: object) -> str:
    if not isinstance(loaded, type):
        return f"not a Backend, but of type {type(loaded).__name__}"
    return "" if issubclass(loaded, Backend) else f"not a Backend, but the class {loaded.__name__}"


def backend_point(type: str) -> Offer | EntryPoint | None:
    """The entry point of a backend type, or None."""
    return offers(BACKENDS).get(type) or next((point for point in found(BACKENDS) if point.name == type), None)


def load_command(name: str) -> tuple[Any, str]:
    """A plugin's command by name: the object, or None and the reason; both empty where there is no such plugin."""
    point = next((point for point in found(COMMANDS) if point.name == name), None)
    if point is None:
        return None, ""
    loaded, problem = _load(point)
    return loaded, f"command {name!r} ({point.value}) does not load: {problem}" if problem else ""


def survey(wrong_command: Callable[[object], str] = lambda _: "") -> list[Plugin]:
    """Every plugin of every kind, loaded to see whether it does and is what it has to be.

    `wrong_command` says what is wrong with an object that is offered as a command; "" where nothing is.
    """
    hooks = {plugin.name: plugin for plugin in Hooks().broken}
    return [
        *(describe(point, _loaded_backend(point)[1]) for point in found(BACKENDS)),
        *(hooks.get(point.name) or describe(point) for point in found(HOOKS)),
        *(describe(point, _loaded(point, wrong_command)[1]) for point in found(COMMANDS)),
    ]


class Hooks:
    """The hook plugins of this process. `broken` lists those that did not load, with the reason."""

    def __init__(self, required: Iterable[str] = (), points: Iterable[EntryPoint] | None = None) -> None:
        import pluggy  # noqa: PLC0415  only what changes something asks hooks

        from flowbridge import hookspecs  # noqa: PLC0415

        self._manager = pluggy.PluginManager("flowbridge")
        self._manager.add_hookspecs(hookspecs)
        self.broken: list[Plugin] = []
        self.problems: list[str] = []
        self._required = frozenset(required)
        for point in found(HOOKS) if points is None else points:
            self._take_in(point)

    def register(self, plugin: object, name: str) -> None:
        """Register a plugin object. One that pluggy rejects is unregistered again; `ValueError` says why."""
        try:
            self._manager.register(plugin, name)
            self._manager.check_pending()
            self._reject_wrappers(plugin)
            self._reject_idle(plugin)
        except Exception as error:
            # pluggy leaves a plugin registered that it has just rejected. Another one of that name stays.
            if self._manager.get_plugin(name) is plugin:
                self._manager.unregister(name=name)
            # What pluggy says of a signature stands in its later lines: which arguments, and that there are none such.
            raise ValueError(f"{type(error).__name__}: {'; '.join(str(error).splitlines())}") from error

    def veto(self, operation: Any, plan: Any) -> str | None:
        """The reason of the first veto, or None. A required plugin that is missing or broken is a veto."""
        if missing := self.missing:
            return f"required plugin {missing[0]} is not loaded"
        for name, implementation in self._implementations("flowbridge_before_operation"):
            try:
                reason = implementation(operation=operation, plan=plan)
            except Exception as error:  # noqa: BLE001  a veto hook that raises is a veto
                return f"plugin {name} failed: {one_line(error)}"
            if reason:
                return f"{reason} (plugin {name})"
        return None

    @property
    def missing(self) -> list[str]:
        """The required plugins that are not loaded."""
        return sorted(self._required - {name for name, _ in self._manager.list_name_plugin()})

    def tell(self, plugin: str, hook: str, **arguments: Any) -> None:
        """Tell one observer. If it raises it is named in `problems`."""
        for name, implementation in self._implementations(hook):
            if name != plugin:
                continue
            try:
                implementation(**arguments)
            except Exception as error:  # noqa: BLE001  an observer never takes a command down
                self.problems.append(f"plugin {name}: {hook} failed: {one_line(error)}")

    def resolve(self, ref: str, config: Config) -> Target | None:
        """What the first plugin that knows `ref` gives, or None. Raises what that one says is wrong with it."""
        for name, implementation in self._implementations("flowbridge_resolve"):
            try:
                found = implementation(ref=ref, config=config)
            except FlowbridgeError:
                raise
            except Exception as error:  # noqa: BLE001  a broken catalog hides no other one
                self.problems.append(f"plugin {name}: flowbridge_resolve failed: {one_line(error)}")
                continue
            if found is not None:
                return Target(found) if isinstance(found, Definition) else found
        return None

    def catalog(self, ref: str, config: Config) -> list[CatalogEntry]:
        """What the plugins have under a name, or all of it. One that fails is named in `problems`."""
        entries: list[CatalogEntry] = []
        for name, implementation in self._implementations("flowbridge_catalog"):
            try:
                entries += implementation(ref=ref, config=config) or ()
            except FlowbridgeError:
                raise
            except Exception as error:  # noqa: BLE001  a broken catalog hides no other one
                self.problems.append(f"plugin {name}: flowbridge_catalog failed: {one_line(error)}")
        return entries

    @property
    def observers(self) -> list[str]:
        """The plugins that want to know what happened."""
        hooks = ("flowbridge_status_changed", "flowbridge_task_ended", "flowbridge_after_operation")
        return list(dict.fromkeys(name for hook in hooks for name, _ in self._implementations(hook)))

    def _implementations(self, hook: str) -> list[tuple[str, Callable[..., Any]]]:
        caller = getattr(self._manager.hook, hook)
        found = sorted(caller.get_hookimpls(), key=lambda one: (not one.tryfirst) + one.trylast)
        return [(implementation.plugin_name, _bound(implementation)) for implementation in found]

    def _reject_wrappers(self, plugin: object) -> None:
        """Each plugin is called by itself, so that one that fails can be named: there is nothing to wrap around."""
        for caller in self._manager.get_hookcallers(plugin) or ():
            for one in caller.get_hookimpls():
                if one.plugin is plugin and (one.hookwrapper or one.wrapper):
                    raise ValueError(f"{caller.name} is a hook wrapper, and those are not supported")

    def _reject_idle(self, plugin: object) -> None:
        if not self._manager.get_hookcallers(plugin):
            raise ValueError("it implements no hook of flowbridge")

    def _take_in(self, point: EntryPoint) -> None:
        plugin, problem = _load(point)
        if not problem:
            try:
                self.register(plugin, point.name)
            except ValueError as error:
                problem = str(error)
        if problem:
            self.broken.append(describe(point, problem))


#: Where stdout leads is one thing for the whole process: two calls that overlap would give back each other's, and
#: plugins need not be written for threads. A plugin may use a bridge, and so come here again in its own thread.
_one_at_a_time = threading.RLock()


def _bound(implementation: Any) -> Callable[..., Any]:
    """Call one implementation with the arguments it names, as pluggy would."""

    def call(**arguments: Any) -> Any:
        # What a plugin prints is for people: on stdout it would stand in the middle of data.
        with _one_at_a_time, redirect_stdout(sys.stderr), contained():
            return implementation.function(*(arguments[name] for name in implementation.argnames))

    return call


def _load(point: Offer | EntryPoint) -> tuple[Any, str]:
    try:
        with contained():
            return point.load(), ""
    except Exception as error:  # noqa: BLE001  whatever a foreign module raises while it is imported
        return None, one_line(error)


def _loaded(point: Offer | EntryPoint, wrong: Callable[[Any], str]) -> tuple[Any, str]:
    """What an entry point names, and what is wrong with it; None where something is."""
    loaded, problem = _load(point)
    problem = problem or wrong(loaded)
    return (None if problem else loaded), problem


class _Escaped(Exception):
    """What foreign code raised to end the process. Its text is that of the original."""


@contextmanager
def contained() -> Iterator[None]:
    """Around foreign code: what it raises is an `Exception`, also where it raised `SystemExit` or `KeyboardInterrupt`.

    The user's own Ctrl-C meanwhile passes.
    """
    pressed: list[int] = []
    before = signal.getsignal(signal.SIGINT)
    # Only the main thread is interrupted; and who has a handler that is not Python's knows what it does.
    watched = callable(before) and threading.current_thread() is threading.main_thread()

    def press(number: int, frame: FrameType | None) -> None:
        pressed.append(number)
        if callable(before):
            before(number, frame)

    if watched:
        signal.signal(signal.SIGINT, press)
    try:
        yield
    except Exception:
        raise
    except BaseException as error:
        if pressed:
            raise
        raise _Escaped(one_line(error)) from error
    finally:
        if watched and signal.getsignal(signal.SIGINT) is press:
            signal.signal(signal.SIGINT, before)


def one_line(error: BaseException) -> str:
    """An exception that is nobody's own, in one line."""
    text = str(error).strip().splitlines()
    if text and isinstance(error, _Escaped):
        return text[0]
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
