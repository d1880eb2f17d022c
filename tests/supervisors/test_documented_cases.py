"""The table in docs/supervision.md names tests that exist, and leaves out no case of OTP's without a reason."""

import ast
import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "supervision.md"
HERE = Path(__file__).parent

CASES = re.findall(
    r"\w+",
    """
sup_start_normal sup_start_ignore_init sup_start_ignore_child sup_start_ignore_temporary_child
sup_start_ignore_temporary_child_start_child sup_start_ignore_temporary_child_start_child_simple
sup_start_ignore_permanent_child_start_child_simple sup_start_error_return sup_start_fail
sup_start_child_returns_error sup_start_child_returns_error_simple sup_start_restart_child_returns_error
sup_start_map sup_start_map_simple sup_start_map_faulty_specs
sup_stop_infinity sup_stop_timeout sup_stop_brutal_kill
child_adm child_adm_simple child_specs sup_flags extra_return get_callback_module
permanent_normal transient_normal temporary_normal permanent_shutdown transient_shutdown temporary_shutdown
permanent_abnormal transient_abnormal temporary_abnormal temporary_bystander faulty_application_shutdown
multiple_restarts one_for_one one_for_one_escalation one_for_all one_for_all_escalation
one_for_all_other_child_fails_restart simple_one_for_one simple_one_for_one_shutdown simple_one_for_one_extra
simple_one_for_one_escalation rest_for_one rest_for_one_escalation rest_for_one_other_child_fails_restart
child_unlink tree count_children count_children_supervisor count_restarting_children
do_not_save_start_parameters_for_temporary_children do_not_save_child_specs_for_temporary_children
simple_one_for_one_scale_many_temporary_children hanging_restart_loop hanging_restart_loop_rest_for_one
hanging_restart_loop_simple code_change code_change_map code_change_simple order_of_children
scale_start_stop_many_children
significant_temporary significant_transient significant_simple significant_bystander significant_escalation
significant_upgrade
""",
)


def functions_of(file: str) -> set[str]:
    tree = ast.parse((HERE / file).read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def rows() -> dict[str, tuple[str, str]]:
    """By case: the test, and the note."""
    found = re.findall(r"^\| (\w+) \| (?:`([\w.:]+)`|–) \| (.*?) ?\|$", PAGE.read_text(), re.MULTILINE)
    return {case: (test, note) for case, test, note in found if case in CASES}


def test_every_case_is_in_the_table() -> None:
    assert [case for case in CASES if case not in rows()] == []


def test_every_case_has_a_test_of_its_name_or_a_reason_why_not() -> None:
    for case, (test, note) in rows().items():
        file, _, name = test.partition("::")
        assert note if not test else name == f"test_{case}" and name in functions_of(file), case


def test_the_table_beyond_otps_names_each_test_of_ours_once() -> None:
    ours = {
        f"{path.name}::{name}"
        for path in HERE.glob("test_*.py")
        for name in functions_of(path.name)
        if name.startswith("test_c_")
    }
    table = PAGE.read_text().partition("Beyond OTP's:")[2]
    named = re.findall(r"^\| .+? \| `([\w.]+::\w+)` \|$", table, re.MULTILINE)
    assert sorted(named) == sorted(ours)
    assert len(named) >= 17
