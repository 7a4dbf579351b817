from __future__ import annotations

import pytest

from onex.v1 import common_pb2
from onex_grpc.codegen import names


@pytest.mark.parametrize(
    ("rpc", "method"),
    [
        ("PlaceOrder", "place_order"),
        ("GetURL", "get_url"),
        ("GetUrl", "get_url"),
        ("GetHTTPStatus", "get_http_status"),
        ("ConvertV2", "convert_v2"),
        ("A", "a"),
        ("already_snake", "already_snake"),
    ],
)
def test_methods_are_in_snake_case(rpc: str, method: str) -> None:
    assert names.snake_case(rpc) == method


@pytest.mark.parametrize(
    ("service", "node"),
    [
        ("shop.v1.OrderService", "order"),
        ("shop.v1.QuoteBookService", "quote-book"),
        ("shop.v1.Quotes", "quotes"),
        ("HTTPGatewayService", "http-gateway"),
    ],
)
def test_a_node_without_a_name_is_named_after_its_service(service: str, node: str) -> None:
    assert names.node_name_of(service) == node


def test_only_dependencies_of_one_name_are_told_apart_by_their_package() -> None:
    services = ["shop.v1.OrderService", "stock.v2.OrderService", "shop.v1.MailService"]
    assert names.mesh_properties(services) == {
        "shop.v1.OrderService": "shop_order",
        "stock.v2.OrderService": "stock_order",
        "shop.v1.MailService": "mail",
    }


def test_versions_of_one_service_are_told_apart_by_their_whole_package() -> None:
    services = ["shop.v1.OrderService", "shop.v2.OrderService", "stock.v1.OrderService"]
    assert names.mesh_properties(services) == {
        "shop.v1.OrderService": "shop_v1_order",
        "shop.v2.OrderService": "shop_v2_order",
        "stock.v1.OrderService": "stock_order",
    }


def test_a_dependency_without_a_package_is_not_private() -> None:
    assert names.mesh_properties(["CallsService", "shop.v1.CallsService"]) == {
        "CallsService": "calls",
        "shop.v1.CallsService": "shop_calls",
    }


def test_each_kind_has_its_classes() -> None:
    reducer = names.class_names("Order", common_pb2.NODE_TYPE_REDUCER)
    assert reducer == ["OrderReducer", "OrderClient", "OrderIntent"]
    assert names.rpc_constant("QuoteBook", "GetURL") == "_QUOTE_BOOK_GET_URL"


@pytest.mark.parametrize("word", ["import", "None", "2fa", "a.b", ""])
def test_words_that_python_does_not_let_be_names(word: str) -> None:
    assert names.is_taken(word)


@pytest.mark.parametrize("word", ["match", "type", "none", "order_2"])
def test_words_that_are_keywords_only_in_some_places_are_names(word: str) -> None:
    assert not names.is_taken(word)
