//! What conversations teach: questions asked in vain are counted, what people answered is suggested.

use super::support::Server;
use kefu::domain::{
    Conversation, ConversationId, ConversationStatus, Message, MessageId, Role, Route, SuggestionState,
};
use kefu::storage::PageRequest;

async fn said(server: &Server, conversation: ConversationId, role: Role, text: &str, route: Option<Route>) {
    let message = Message {
        id: MessageId::new(),
        conversation_id: conversation,
        role,
        text: text.to_owned(),
        route,
        confidence: None,
        citations: Vec::new(),
        kb_version: None,
        model: None,
        total_ms: None,
        stopped: false,
        rating: None,
        created_at: server.state.now(),
    };
    server.store.add_message(&message).await.unwrap();
}

async fn conversation(server: &Server) -> Conversation {
    let (id, _) = server.visitor().await;
    let id = id.parse::<ConversationId>().unwrap();
    server.store.conversation(id).await.unwrap().unwrap()
}

#[tokio::test]
async fn what_is_asked_in_vain_is_counted_once_and_people_teach() {
    let server = Server::start().await;
    let learner = server.state.learner().unwrap();
    assert_eq!(learner.step().await.unwrap(), kefu::jobs::Learnt::default());

    let first = conversation(&server).await;
    let second = conversation(&server).await;
    let question = "钻石卡有没有机场接送服务";
    for id in [first.id, second.id] {
        said(&server, id, Role::Visitor, question, None).await;
        said(&server, id, Role::Assistant, "没有找到相关内容", Some(Route::Refuse)).await;
        said(&server, id, Role::Visitor, "转人工", None).await;
        said(&server, id, Role::Assistant, "正在转接", Some(Route::Handoff)).await;
    }
    let learnt = learner.step().await.unwrap();
    // Four replies helped nobody; the wish for a person is no question.
    assert_eq!((learnt.replies, learnt.new_gaps), (4, 1));
    let gaps = server.store.gaps(true, &PageRequest::first(10)).await.unwrap().items;
    assert_eq!((gaps.len(), gaps[0].count), (1, 2));
    assert_eq!(gaps[0].question, question);
    assert_eq!(learner.step().await.unwrap().replies, 0, "each reply counts once");
    said(&server, first.id, Role::Visitor, question, None).await;
    said(&server, first.id, Role::Assistant, "没有找到", Some(Route::Refuse)).await;
    assert_eq!(learner.step().await.unwrap().new_gaps, 0);
    assert_eq!(
        server.store.gaps(true, &PageRequest::first(10)).await.unwrap().items[0].count,
        3
    );

    said(
        &server,
        first.id,
        Role::Agent,
        "钻石卡每年有两次机场接送，需提前一天预约。",
        None,
    )
    .await;
    let closed = ConversationStatus::Closed;
    for id in [first.id, second.id] {
        server
            .store
            .set_conversation_status(id, closed, server.state.now())
            .await
            .unwrap();
    }
    let learnt = learner.step().await.unwrap();
    assert_eq!(
        (learnt.conversations, learnt.suggestions),
        (1, 1),
        "in one of them a person wrote"
    );
    let page = PageRequest::first(10);
    let suggested = server
        .store
        .suggestions(SuggestionState::Open, &page)
        .await
        .unwrap()
        .items;
    assert_eq!(suggested[0].question, question);
    assert_eq!(suggested[0].answer, "钻石卡每年有两次机场接送，需提前一天预约。");
    assert_eq!(suggested[0].conversation_id, Some(first.id));
    assert_eq!(learner.step().await.unwrap().conversations, 0);
}

#[tokio::test]
async fn what_the_base_has_is_not_suggested() {
    let server = Server::start().await;
    let learner = server.state.learner().unwrap();
    let known = server.store.faqs(&[server.faq]).await.unwrap().remove(0).question;
    let made = conversation(&server).await;
    said(&server, made.id, Role::Visitor, &known, None).await;
    said(&server, made.id, Role::Assistant, "没有找到", Some(Route::Refuse)).await;
    said(&server, made.id, Role::Agent, "请拨打客服电话办理此项业务。", None).await;
    assert_eq!(learner.suggest(made.id).await.unwrap(), None);
    let written = learner
        .suggestion(
            known,
            Vec::new(),
            "另一种答复。".to_owned(),
            kefu::domain::Origin::Written,
        )
        .await
        .unwrap();
    assert_eq!(written.similar[0].faq_id, server.faq, "what is like it is named");
}
